// What a plug-in shows its host: a copy of the library of its own, and a named lock.
#ifndef TWO_VERSIONS_PLUG_IN_H
#define TWO_VERSIONS_PLUG_IN_H

struct plug_in {
  const char* (*version)(void);
  const void* (*code)(void);        // where a function of the library is, as the plug-in's code sees it
  void* (*open)(const char* name);  // null if that was refused
  int (*try_acquire)(void* lock);   // what it came to, as a heirlock_outcome
  int (*release)(void* lock);       // likewise
};

#endif
