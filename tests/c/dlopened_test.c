/* The shared library as a program meets it that knows it by name only: from several threads, after fork,
   after dlclose. */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "heirlock/heirlock.h"

static struct {
  heirlock_outcome (*acquire)(heirlock_lock*);
  heirlock_outcome (*try_acquire)(heirlock_lock*);
  heirlock_outcome (*release)(heirlock_lock*);
  uint32_t (*depth)(const heirlock_lock*);
  int32_t (*owner)(const heirlock_lock*);
  const char* (*last_message)(void);
} lib;

static void* library;

static void look_up(const char* function, void* pointer) {
  void* const found = dlsym(library, function);
  CHECK(found != NULL);
  memcpy(pointer, &found, sizeof found); /* C knows no conversion of it to a function */
}

static void load(void) {
  library = dlopen(SHARED_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  CHECK(library != NULL);
  look_up("heirlock_acquire", &lib.acquire);
  look_up("heirlock_try_acquire", &lib.try_acquire);
  look_up("heirlock_release", &lib.release);
  look_up("heirlock_depth", &lib.depth);
  look_up("heirlock_owner", &lib.owner);
  look_up("heirlock_last_message", &lib.last_message);
}

typedef struct counted {
  heirlock_lock lock;
  int64_t count;
} counted;
enum { rounds = 20000 };

static void* count_up(void* argument) {
  counted* const shared = argument;
  for (int i = 0; i < rounds; ++i) {
    CHECK(lib.acquire(&shared->lock) == heirlock_acquired);
    CHECK(lib.acquire(&shared->lock) == heirlock_reentered);
    CHECK(lib.depth(&shared->lock) == 2 && lib.owner(&shared->lock) == my_tid());
    ++shared->count;
    CHECK(lib.release(&shared->lock) == heirlock_done);
    CHECK(lib.release(&shared->lock) == heirlock_done);
  }
  return NULL;
}

static void find_it_another_s(void* lock) {
  CHECK(lib.depth(lock) == 0);
  CHECK(lib.release(lock) == heirlock_not_owner);
  CHECK(lib.try_acquire(lock) == heirlock_not_acquired);
}

// Spec: c.dlopen
static void a_forked_child_does_not_own_what_its_parent_owns(void) {
  heirlock_lock* const lock = shared_memory(sizeof *lock);
  CHECK(lib.acquire(lock) == heirlock_acquired);
  in_child(find_it_another_s, lock);
  in_thread(find_it_another_s, lock);
  CHECK(lib.release(lock) == heirlock_done);
}

static void find_no_message(void* unused) {
  (void)unused;
  CHECK(lib.last_message()[0] == '\0');
}

// Spec: c.message
static void each_thread_has_a_last_message_of_its_own(void) {
  heirlock_lock* const lock = shared_memory(sizeof *lock);
  CHECK(lib.release(lock) == heirlock_not_owner);
  CHECK(strstr(lib.last_message(), "does not own the lock: it is free") != NULL);
  in_thread(find_no_message, NULL);
}

// Spec: c.dlopen
static void a_lock_that_is_held_over_dlclose_is_known_after(void) {
  heirlock_lock* const lock = shared_memory(sizeof *lock);
  CHECK(lib.acquire(lock) == heirlock_acquired);
  CHECK(dlclose(library) == 0);
  load();
  CHECK(lib.acquire(lock) == heirlock_reentered);
  CHECK(lib.release(lock) == heirlock_done);
  CHECK(lib.release(lock) == heirlock_done);
}

/* Uses the library, which is loaded while it waits. */
typedef struct early_thread {
  pthread_barrier_t loaded;
  counted* shared;
} early_thread;

static void* count_up_when_loaded(void* argument) {
  early_thread* const early = argument;
  const int status = pthread_barrier_wait(&early->loaded);
  CHECK(status == 0 || status == PTHREAD_BARRIER_SERIAL_THREAD);
  return count_up(early->shared);
}

// Spec: c.dlopen
static void a_thread_that_began_before_it_was_loaded_has_its_own_storage(void) {
  early_thread early;
  early.shared = shared_memory(sizeof *early.shared);
  pthread_t thread;
  CHECK(pthread_barrier_init(&early.loaded, NULL, 2) == 0);
  CHECK(pthread_create(&thread, NULL, count_up_when_loaded, &early) == 0);
  load();
  count_up_when_loaded(&early);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(early.shared->count == 2 * rounds);
}

int main(void) {
  const test tests[] = {
      TEST_OF(a_thread_that_began_before_it_was_loaded_has_its_own_storage), /* loads it */
      TEST_OF(a_forked_child_does_not_own_what_its_parent_owns),
      TEST_OF(each_thread_has_a_last_message_of_its_own),
      TEST_OF(a_lock_that_is_held_over_dlclose_is_known_after),
  };
  return run_tests(tests, sizeof tests / sizeof *tests);
}
