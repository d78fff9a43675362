// host FIRST VERSION SECOND VERSION: loads two plug-ins that have the library in these versions. Each sees
// all that the one before shows, must use its own copy nonetheless, and knows the locks that the thread took
// through the other.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "heirlock/heirlock.h"
#include "plug_in.h"

static const struct plug_in* load(const char* path) {
  void* const library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) fprintf(stderr, "%s\n", dlerror());
  CHECK(library != NULL);
  const struct plug_in* const loaded = dlsym(library, "plug_in");
  CHECK(loaded != NULL);
  return loaded;
}

struct side {
  const struct plug_in* plug_in;
  void* lock;
};

static void find_it_another_s(void* side) {
  const struct side* const here = side;
  CHECK(here->plug_in->try_acquire(here->lock) == heirlock_not_acquired);
  CHECK(here->plug_in->release(here->lock) == heirlock_not_owner);
}

static void know_what_the_other_took(const struct side* one, const struct side* other) {
  CHECK(one->plug_in->try_acquire(one->lock) == heirlock_acquired);
  in_thread(find_it_another_s, (void*)other);
  CHECK(other->plug_in->try_acquire(other->lock) == heirlock_reentered);
  CHECK(one->plug_in->release(one->lock) == heirlock_done);
  in_thread(find_it_another_s, (void*)one);
  CHECK(other->plug_in->release(other->lock) == heirlock_done);
  CHECK(one->plug_in->release(one->lock) == heirlock_not_owner);
}

int main(int count, char** arguments) {
  CHECK(count == 5);
  alarm(60);
  struct side first = {load(arguments[1]), NULL}, second = {load(arguments[3]), NULL};
  CHECK(strcmp(first.plug_in->version(), arguments[2]) == 0);
  CHECK(strcmp(second.plug_in->version(), arguments[4]) == 0);
  CHECK(first.plug_in->code() != second.plug_in->code());

  char name[64], path[100];
  snprintf(name, sizeof name, "two-versions-%d", (int)getpid());
  snprintf(path, sizeof path, "/dev/shm/heirlock.%s", name);
  first.lock = first.plug_in->open(name);
  second.lock = second.plug_in->open(name);
  CHECK(unlink(path) == 0);
  CHECK(first.lock != NULL && second.lock != NULL);
  know_what_the_other_took(&first, &second);
  know_what_the_other_took(&second, &first);
  return 0;
}
