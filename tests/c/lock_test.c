/* Calls on a lock from C, where the conformance vectors, which the driver in C plays, do not look. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "check.h"
#include "heirlock/heirlock.h"

/* In nanoseconds. */
static const int64_t short_time = 3000000;

static heirlock_lock* shared_lock(void) {
  return shared_memory(sizeof(heirlock_lock));
}

/* The lock's bytes, as SPECIFICATION.md gives them. */
static uint32_t* field_at(heirlock_lock* lock, int offset) {
  return (uint32_t*)(void*)((char*)lock + offset);
}
static uint32_t word_of(heirlock_lock* lock) {
  return __atomic_load_n(field_at(lock, 0), __ATOMIC_RELAXED);
}

static void acquire(void* lock) {
  CHECK(heirlock_acquire(lock) == heirlock_acquired);
}

// Spec: c.layout
static void init_makes_a_free_lock_of_any_memory(void) {
  heirlock_lock lock;
  memset(&lock, 0xa5, sizeof lock);
  CHECK(heirlock_init(&lock) == heirlock_done);
  CHECK(heirlock_owner(&lock) == 0);
  CHECK(heirlock_needs_repair(&lock) == 0);
  CHECK(heirlock_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
}

static void find_it_anothers(void* argument) {
  heirlock_lock* const lock = argument;
  CHECK(heirlock_try_acquire(lock) == heirlock_not_acquired);
  CHECK(heirlock_acquire_for(lock, 0) == heirlock_not_acquired);
  CHECK(heirlock_acquire_for(lock, INT64_MIN) == heirlock_not_acquired);
  CHECK(heirlock_acquire_until(lock, now()) == heirlock_not_acquired);
  CHECK(heirlock_acquire_until(lock, INT64_MIN) == heirlock_not_acquired);
  CHECK(heirlock_release(lock) == heirlock_not_owner);
  CHECK(heirlock_repaired(lock) == heirlock_not_owner);
  CHECK(heirlock_owner(lock) != 0 && heirlock_owner(lock) != my_tid());
  CHECK(heirlock_depth(lock) == 0);
}

// Spec: c.outcome, c.query
static void a_lock_of_another_is_not_the_callers(void) {
  heirlock_lock* const lock = shared_lock();
  CHECK(heirlock_owner(lock) == 0 && heirlock_depth(lock) == 0);
  CHECK(heirlock_release(lock) == heirlock_not_owner);
  acquire(lock);
  CHECK(heirlock_owner(lock) == my_tid() && heirlock_depth(lock) == 1);
  in_thread(find_it_anothers, lock);
  in_child(find_it_anothers, lock);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void wait_out_timeouts(void* lock) {
  const int64_t start = now();
  CHECK(heirlock_acquire_for(lock, short_time) == heirlock_not_acquired);
  CHECK(now() >= start + short_time);
  const int64_t deadline = now() + short_time;
  CHECK(heirlock_acquire_until(lock, deadline) == heirlock_not_acquired);
  CHECK(now() >= deadline);
}

// Spec: c.timeout
static void no_timeout_ends_early(void) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  in_thread(wait_out_timeouts, lock);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void* wait_and_release(void* argument, heirlock_outcome (*acquire_by)(heirlock_lock*)) {
  CHECK(acquire_by(argument) == heirlock_acquired);
  CHECK(heirlock_release(argument) == heirlock_done);
  return NULL;
}
static heirlock_outcome for_the_longest_time(heirlock_lock* lock) {
  return heirlock_acquire_for(lock, INT64_MAX);
}
static heirlock_outcome until_the_last_moment(heirlock_lock* lock) {
  return heirlock_acquire_until(lock, INT64_MAX);
}
static void* wait_in_acquire_for(void* lock) {
  return wait_and_release(lock, for_the_longest_time);
}
static void* wait_in_acquire_until(void* lock) {
  return wait_and_release(lock, until_the_last_moment);
}

/* The bit that a waiter sets before it sleeps. */
static void await_waiter(heirlock_lock* lock) {
  while ((word_of(lock) & 0x80000000) == 0) sched_yield();
}

static void check_that_it_waits(void* (*waiter)(void*)) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, waiter, lock) == 0);
  await_waiter(lock);
  CHECK(heirlock_owner(lock) == my_tid());
  CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(pthread_join(thread, NULL) == 0);
}

// Spec: c.timeout
static void the_longest_timeout_waits_for_ever(void) {
  check_that_it_waits(wait_in_acquire_for);
  check_that_it_waits(wait_in_acquire_until);
}

static int is_interrupted;

static void* wait_until_interrupted(void* lock) {
  CHECK(heirlock_acquire_interruptible(lock, now()) == heirlock_not_acquired);
  CHECK(heirlock_acquire_interruptible(lock, INT64_MAX) == heirlock_interrupted);
  CHECK(heirlock_last_errno() == EINTR);
  __atomic_store_n(&is_interrupted, 1, __ATOMIC_RELEASE);
  return NULL;
}
static void handle(int number) {
  (void)number;
}

// Spec: lock.acquire.interruptible
static void a_signal_ends_an_interruptible_wait(void) {
  heirlock_lock* const lock = shared_lock();
  CHECK(heirlock_acquire_interruptible(lock, INT64_MAX) == heirlock_acquired);
  CHECK(signal(SIGUSR1, handle) != SIG_ERR);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, wait_until_interrupted, lock) == 0);
  await_waiter(lock);
  while (__atomic_load_n(&is_interrupted, __ATOMIC_ACQUIRE) == 0) {
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    sched_yield();
  }
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(heirlock_release(lock) == heirlock_done);
}

/* The driver's vectors know no absolute deadline. */
// Spec: c.outcome, c.query
static void acquire_until_inherits_enters_again_and_acquires(void) {
  heirlock_lock* const lock = shared_lock();
  in_killed_child(acquire, lock);
  CHECK(heirlock_owner(lock) == 0);
  CHECK(heirlock_needs_repair(lock) == 1);
  CHECK(heirlock_acquire_until(lock, now() + short_time) == heirlock_inherited);
  CHECK(heirlock_acquire_until(lock, 0) == heirlock_reentered);
  CHECK(heirlock_depth(lock) == 2);
  CHECK(heirlock_repaired(lock) == heirlock_done);
  for (int i = 0; i < 2; ++i) CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(heirlock_acquire_until(lock, now() + short_time) == heirlock_acquired);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void acquire_without_a_robust_list(void* lock) {
  if (!forbid(SYS_get_robust_list, EPERM)) {
    printf("  not tried: found no seccomp\n");
    return;
  }
  CHECK(heirlock_acquire(lock) == heirlock_unsupported_platform);
  CHECK(heirlock_owner(lock) == 0);
}

// Spec: c.outcome
static void where_the_system_lacks_robust_lists_an_acquire_is_refused(void) {
  in_child(acquire_without_a_robust_list, shared_lock());
}

static heirlock_outcome acquire_for_short(heirlock_lock* lock) {
  return heirlock_acquire_for(lock, short_time);
}
static heirlock_outcome acquire_until_soon(heirlock_lock* lock) {
  return heirlock_acquire_until(lock, now() + short_time);
}

// Spec: c.argument
static void a_pointer_that_is_null_or_not_aligned_is_refused(void) {
  heirlock_outcome (*const calls[])(heirlock_lock*) = {
      heirlock_init,      heirlock_acquire, heirlock_try_acquire, acquire_for_short,
      acquire_until_soon, heirlock_release, heirlock_repaired,
  };
  uint64_t memory[6] = {0};
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; ++i) {
    CHECK(calls[i](NULL) == heirlock_invalid_argument);
    CHECK(calls[i]((heirlock_lock*)(void*)((char*)memory + 4)) == heirlock_invalid_argument);
  }
  for (int i = 0; i < 6; ++i) CHECK(memory[i] == 0);
}

// Spec: c.text
static void each_outcome_has_its_errno_value(void) {
  static const struct {
    heirlock_outcome outcome;
    int32_t value;
  } expected[] = {
      {heirlock_acquired, 0},
      {heirlock_reentered, 0},
      {heirlock_done, 0},
      {heirlock_inherited, EOWNERDEAD},
      {heirlock_not_acquired, EBUSY},
      {heirlock_not_owner, EPERM},
      {heirlock_recursion_too_deep, EDEADLK},
      {heirlock_foreign_pid_namespace, EXDEV},
      {heirlock_unsupported_platform, ENOSYS},
      {heirlock_layout_mismatch, EPROTO},
      {heirlock_not_trusted, EACCES},
      {heirlock_invalid_name, EINVAL},
      {heirlock_invalid_argument, EINVAL},
      {heirlock_file_exists, EEXIST},
      {heirlock_file_missing, ENOENT},
      {heirlock_no_memory, ENOMEM},
      {heirlock_interrupted, EINTR},
      {heirlock_system_error, 0}, /* as the thread's last error */
  };
  const unsigned count = sizeof expected / sizeof *expected;
  CHECK(count == heirlock_done - heirlock_interrupted + 1);
  for (unsigned i = 0; i < count; ++i) CHECK(heirlock_errno(expected[i].outcome) == expected[i].value);
}

static void ask_for_errno_after_vain_acquires(void* lock) {
  heirlock_lock own = {{0}};
  CHECK(heirlock_acquire_for(lock, 1) == heirlock_not_acquired);
  acquire(&own);
  CHECK(heirlock_release(&own) == heirlock_done);
  CHECK(heirlock_errno(heirlock_not_acquired) == ETIMEDOUT);
  CHECK(heirlock_try_acquire(lock) == heirlock_not_acquired);
  CHECK(heirlock_errno(heirlock_not_acquired) == EBUSY);
  CHECK(heirlock_acquire_until(lock, now() + 1) == heirlock_not_acquired);
  CHECK(heirlock_errno(heirlock_not_acquired) == ETIMEDOUT);
}

// Spec: c.text
static void only_a_timed_acquire_in_vain_has_timed_out(void) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  in_thread(ask_for_errno_after_vain_acquires, lock);
  CHECK(heirlock_errno(heirlock_not_acquired) == EBUSY); /* each thread has its own */
  CHECK(heirlock_release(lock) == heirlock_done);
}

int main(void) {
  const test tests[] = {
      TEST_OF(init_makes_a_free_lock_of_any_memory),
      TEST_OF(a_lock_of_another_is_not_the_callers),
      TEST_OF(no_timeout_ends_early),
      TEST_OF(the_longest_timeout_waits_for_ever),
      TEST_OF(a_signal_ends_an_interruptible_wait),
      TEST_OF(acquire_until_inherits_enters_again_and_acquires),
      TEST_OF(where_the_system_lacks_robust_lists_an_acquire_is_refused),
      TEST_OF(a_pointer_that_is_null_or_not_aligned_is_refused),
      TEST_OF(each_outcome_has_its_errno_value),
      TEST_OF(only_a_timed_acquire_in_vain_has_timed_out),
  };
  return run_tests(tests, sizeof tests / sizeof *tests);
}
