// heirlock-driver-pthread-robust: the port is a pthread_mutex_t of glibc, robust, recursive and shared.
//
// It mends nothing, so its answers show where that mutex differs from heirlock's lock. What the protocol asks
// and no function of the mutex tells, it reads from glibc's own fields: __count and __owner.
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

typedef struct slot {
  pthread_mutex_t mutex;
  bool is_made;
  char unused[lock_stride - sizeof(pthread_mutex_t) - sizeof(bool)];
} slot;

_Static_assert(sizeof(slot) == lock_stride, "expected a mutex that leaves room for is_made");

static void prepare(void* memory) {
  slot* const slots = memory;
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  for (int i = 0; i < lock_count; ++i) {
    if (slots[i].is_made) continue;
    pthread_mutex_init(&slots[i].mutex, &attributes);
    slots[i].is_made = true;
  }
  pthread_mutexattr_destroy(&attributes);
}

static const char* word_of(int error) {
  switch (error) {
    case 0:
      return "done";
    case EOWNERDEAD:
      return "inherited";
    case EBUSY:
      return "busy";
    case ETIMEDOUT:
      return "timeout";
    case EAGAIN:
      return "recursion_too_deep";
    case ENOTRECOVERABLE:
      return "unrecoverable";
    case EPERM:
      return "not_owner";
  }
  return result("error %s", strerror(error));
}

static const char* acquire_word_of(int error, const pthread_mutex_t* mutex) {
  if (error != 0) return word_of(error);
  return mutex->__data.__count > 1 ? "reentered" : "acquired";
}

static const char* acquire(void* lock) {
  return acquire_word_of(pthread_mutex_lock(lock), lock);
}

static const char* acquire_for(void* lock, int64_t milliseconds) {
  struct timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  const int64_t most = INT32_MAX;  // as good as for ever
  const int64_t left = milliseconds > most ? most : milliseconds < 0 ? 0 : milliseconds;
  const int64_t nanoseconds = deadline.tv_nsec + left % 1000 * 1000000;
  deadline.tv_sec += left / 1000 + nanoseconds / 1000000000;
  deadline.tv_nsec = nanoseconds % 1000000000;
  return acquire_word_of(pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &deadline), lock);
}

static const char* try_acquire(void* lock) {
  return acquire_word_of(pthread_mutex_trylock(lock), lock);
}

static const char* release(void* lock) {
  return word_of(pthread_mutex_unlock(lock));
}

// glibc does not ask who calls. EINVAL is for a mutex that nobody inherited, of which its owner may say so.
static const char* repaired(void* lock) {
  const int error = pthread_mutex_consistent(lock);
  if (error != EINVAL) return word_of(error);
  const pthread_mutex_t* const mutex = lock;
  return mutex->__data.__owner == gettid() ? "done" : "not_owner";
}

int main(int argument_count, char** arguments) {
  static const port robust = {
      .capabilities = "threads fork exec death",
      .prepare = prepare,
      .acquire = acquire,
      .acquire_for = acquire_for,
      .try_acquire = try_acquire,
      .release = release,
      .repaired = repaired,
  };
  return drive(&robust, argument_count, arguments);
}
