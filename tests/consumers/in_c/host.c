// Loads the plug-in that it is given, and does what that does.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int count, char** arguments) {
  void* const plug_in = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  void* const found = plug_in != NULL ? dlsym(plug_in, "run_plug_in") : NULL;
  if (found == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  int (*run)(void);
  memcpy(&run, &found, sizeof run);
  return run();
}
