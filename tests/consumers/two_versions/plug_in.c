#include "plug_in.h"

#include <heirlock/heirlock.h>
#include <stdio.h>
#include <string.h>

static const char* version(void) {
  return heirlock_version();
}

static const void* code(void) {
  heirlock_outcome (*const function)(heirlock_lock*) = heirlock_acquire;
  const void* address;
  memcpy(&address, &function, sizeof address);  // C knows no conversion of it
  return address;
}

static void* open_lock(const char* name) {
  heirlock_segment segment;
  if (heirlock_segment_open_or_create(&segment, name, sizeof(heirlock_lock), 8, HEIRLOCK_LOCK_TYPE) < 0)
    fprintf(stderr, "%s\n", heirlock_last_message());
  return segment.object;
}

static int try_acquire(void* lock) {
  return heirlock_try_acquire(lock);
}

static int release(void* lock) {
  return heirlock_release(lock);
}

const struct plug_in plug_in = {version, code, open_lock, try_acquire, release};
