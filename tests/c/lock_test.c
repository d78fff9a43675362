/* Every call on a lock, and every outcome of it, from C. */
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
static const int64_t very_long = 20000000000;

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
static void zeroed_memory_is_a_free_lock(void) {
  heirlock_lock lock;
  memset(&lock, 0, sizeof lock);
  CHECK(heirlock_owner(&lock) == 0);
  CHECK(heirlock_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
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

// Spec: c.outcome
static void every_acquire_takes_a_free_lock(void) {
  heirlock_lock lock = {{0}};
  CHECK(heirlock_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
  CHECK(heirlock_try_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
  CHECK(heirlock_acquire_for(&lock, short_time) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
  CHECK(heirlock_acquire_until(&lock, now() + short_time) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
}

// Spec: c.outcome
static void every_acquire_enters_again(void) {
  heirlock_lock lock = {{0}};
  CHECK(heirlock_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_acquire(&lock) == heirlock_reentered);
  CHECK(heirlock_try_acquire(&lock) == heirlock_reentered);
  CHECK(heirlock_acquire_for(&lock, 0) == heirlock_reentered);
  CHECK(heirlock_acquire_until(&lock, 0) == heirlock_reentered);
  CHECK(heirlock_depth(&lock) == 5);
  for (int i = 0; i < 5; ++i) CHECK(heirlock_release(&lock) == heirlock_done);
  CHECK(heirlock_owner(&lock) == 0);
}

static void fail_to_acquire(void* argument) {
  heirlock_lock* const lock = argument;
  CHECK(heirlock_try_acquire(lock) == heirlock_not_acquired);
  CHECK(heirlock_acquire_for(lock, 0) == heirlock_not_acquired);
  CHECK(heirlock_acquire_for(lock, INT64_MIN) == heirlock_not_acquired);
  CHECK(heirlock_acquire_until(lock, now()) == heirlock_not_acquired);
  CHECK(heirlock_acquire_until(lock, INT64_MIN) == heirlock_not_acquired);
}

// Spec: c.outcome
static void a_lock_of_another_is_not_acquired(void) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  in_thread(fail_to_acquire, lock);
  in_child(fail_to_acquire, lock);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void wait_out_a_timeout(void* lock) {
  const int64_t start = now();
  CHECK(heirlock_acquire_for(lock, 10 * short_time) == heirlock_not_acquired);
  CHECK(now() >= start + 10 * short_time);
  CHECK(now() < start + very_long);
}

// Spec: c.timeout
static void a_relative_timeout_ends_in_time_and_not_early(void) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  in_thread(wait_out_a_timeout, lock);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void wait_out_a_deadline(void* lock) {
  const int64_t deadline = now() + 10 * short_time;
  CHECK(heirlock_acquire_until(lock, deadline) == heirlock_not_acquired);
  CHECK(now() >= deadline);
  CHECK(now() < deadline + very_long);
}

// Spec: c.timeout
static void an_absolute_deadline_ends_in_time_and_not_early(void) {
  heirlock_lock* const lock = shared_lock();
  acquire(lock);
  in_thread(wait_out_a_deadline, lock);
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
static void* wait_in_acquire(void* lock) {
  return wait_and_release(lock, heirlock_acquire);
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

// Spec: c.outcome
static void an_acquire_waits_for_the_release(void) {
  check_that_it_waits(wait_in_acquire);
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

static void release_in_vain(void* lock) {
  CHECK(heirlock_release(lock) == heirlock_not_owner);
  CHECK(heirlock_repaired(lock) == heirlock_not_owner);
}

// Spec: c.outcome
static void who_is_not_the_owner_can_neither_release_nor_declare_repaired(void) {
  heirlock_lock* const lock = shared_lock();
  release_in_vain(lock);
  acquire(lock);
  in_thread(release_in_vain, lock);
  in_child(release_in_vain, lock);
  CHECK(heirlock_depth(lock) == 1);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void see_the_parent_own_it(void* lock) {
  CHECK(heirlock_owner(lock) != 0 && heirlock_owner(lock) != my_tid());
  CHECK(heirlock_depth(lock) == 0);
}

// Spec: c.query
static void owner_and_depth_tell_who_owns_it_how_often(void) {
  heirlock_lock* const lock = shared_lock();
  CHECK(heirlock_owner(lock) == 0 && heirlock_depth(lock) == 0);
  acquire(lock);
  CHECK(heirlock_owner(lock) == my_tid() && heirlock_depth(lock) == 1);
  in_thread(see_the_parent_own_it, lock);
  in_child(see_the_parent_own_it, lock);
  CHECK(heirlock_release(lock) == heirlock_done);
}

// Spec: c.outcome, c.query
static void every_acquire_inherits_from_a_killed_owner(void) {
  heirlock_lock* const lock = shared_lock();
  in_killed_child(acquire, lock);
  CHECK(heirlock_owner(lock) == 0);
  CHECK(heirlock_needs_repair(lock) == 1);
  CHECK(heirlock_acquire(lock) == heirlock_inherited);
  CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(heirlock_try_acquire(lock) == heirlock_inherited);
  CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(heirlock_acquire_for(lock, short_time) == heirlock_inherited);
  CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(heirlock_acquire_until(lock, now() + short_time) == heirlock_inherited);
  CHECK(heirlock_release(lock) == heirlock_done);
}

// Spec: c.outcome
static void a_thread_that_ends_as_the_owner_is_inherited_from(void) {
  heirlock_lock* const lock = shared_lock();
  in_thread(acquire, lock);
  CHECK(heirlock_acquire(lock) == heirlock_inherited);
  CHECK(heirlock_repaired(lock) == heirlock_done);
  CHECK(heirlock_release(lock) == heirlock_done);
}

// Spec: c.outcome, c.query
static void what_was_repaired_is_inherited_no_more(void) {
  heirlock_lock* const lock = shared_lock();
  in_killed_child(acquire, lock);
  CHECK(heirlock_acquire(lock) == heirlock_inherited);
  CHECK(heirlock_repaired(lock) == heirlock_done);
  CHECK(heirlock_needs_repair(lock) == 0);
  CHECK(heirlock_release(lock) == heirlock_done);
  CHECK(heirlock_acquire(lock) == heirlock_acquired);
  CHECK(heirlock_release(lock) == heirlock_done);
}

static void* inherit(void* lock) {
  CHECK(heirlock_acquire(lock) == heirlock_inherited);
  CHECK(heirlock_repaired(lock) == heirlock_done);
  CHECK(heirlock_release(lock) == heirlock_done);
  return NULL;
}

static void acquire_and_be_awaited(void* argument) {
  acquire(argument);
  await_waiter(argument);
}

static void* see_a_killed_child_through(void* lock) {
  in_killed_child(acquire_and_be_awaited, lock);
  return NULL;
}

// Spec: c.outcome
static void a_sleeper_inherits_from_a_killed_owner(void) {
  heirlock_lock* const lock = shared_lock();
  pthread_t killer, heir;
  CHECK(pthread_create(&killer, NULL, see_a_killed_child_through, lock) == 0);
  while (heirlock_owner(lock) == 0) sched_yield();
  CHECK(pthread_create(&heir, NULL, inherit, lock) == 0);
  CHECK(pthread_join(killer, NULL) == 0);
  CHECK(pthread_join(heir, NULL) == 0);
}

// Spec: c.outcome
static void at_the_greatest_depth_an_acquire_is_refused(void) {
  heirlock_lock lock = {{0}};
  acquire(&lock);
  *field_at(&lock, 4) = UINT32_MAX;
  CHECK(heirlock_acquire(&lock) == heirlock_recursion_too_deep);
  CHECK(heirlock_try_acquire(&lock) == heirlock_recursion_too_deep);
  CHECK(heirlock_depth(&lock) == UINT32_MAX);
  *field_at(&lock, 4) = 1;
  CHECK(heirlock_release(&lock) == heirlock_done);
}

// Spec: c.outcome
static void a_lock_of_another_pid_namespace_is_refused(void) {
  heirlock_lock lock = {{0}};
  *field_at(&lock, 8) = 1; /* no namespace has this number */
  CHECK(heirlock_acquire(&lock) == heirlock_foreign_pid_namespace);
  CHECK(heirlock_try_acquire(&lock) == heirlock_foreign_pid_namespace);
  CHECK(heirlock_owner(&lock) == 0);
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

enum { rounds = 20000 };
typedef struct counted {
  heirlock_lock lock;
  int64_t count;
} counted;

static void* count_up(void* argument) {
  counted* const shared = argument;
  for (int i = 0; i < rounds; ++i) {
    CHECK(heirlock_acquire(&shared->lock) > 0);
    ++shared->count;
    CHECK(heirlock_release(&shared->lock) == heirlock_done);
  }
  return NULL;
}
static void count_in_two_threads(void* shared) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, count_up, shared) == 0);
  count_up(shared);
  CHECK(pthread_join(thread, NULL) == 0);
}

// Spec: c.outcome
static void threads_of_two_processes_exclude_each_other(void) {
  counted* const shared = shared_memory(sizeof *shared);
  const pid_t child = start_child(count_in_two_threads, shared);
  count_in_two_threads(shared);
  join_child(child);
  CHECK(shared->count == 4 * rounds);
}

int main(void) {
  const test tests[] = {
      TEST_OF(zeroed_memory_is_a_free_lock),
      TEST_OF(init_makes_a_free_lock_of_any_memory),
      TEST_OF(every_acquire_takes_a_free_lock),
      TEST_OF(every_acquire_enters_again),
      TEST_OF(a_lock_of_another_is_not_acquired),
      TEST_OF(a_relative_timeout_ends_in_time_and_not_early),
      TEST_OF(an_absolute_deadline_ends_in_time_and_not_early),
      TEST_OF(an_acquire_waits_for_the_release),
      TEST_OF(the_longest_timeout_waits_for_ever),
      TEST_OF(a_signal_ends_an_interruptible_wait),
      TEST_OF(who_is_not_the_owner_can_neither_release_nor_declare_repaired),
      TEST_OF(owner_and_depth_tell_who_owns_it_how_often),
      TEST_OF(every_acquire_inherits_from_a_killed_owner),
      TEST_OF(a_thread_that_ends_as_the_owner_is_inherited_from),
      TEST_OF(what_was_repaired_is_inherited_no_more),
      TEST_OF(a_sleeper_inherits_from_a_killed_owner),
      TEST_OF(at_the_greatest_depth_an_acquire_is_refused),
      TEST_OF(a_lock_of_another_pid_namespace_is_refused),
      TEST_OF(where_the_system_lacks_robust_lists_an_acquire_is_refused),
      TEST_OF(a_pointer_that_is_null_or_not_aligned_is_refused),
      TEST_OF(each_outcome_has_its_errno_value),
      TEST_OF(only_a_timed_acquire_in_vain_has_timed_out),
      TEST_OF(threads_of_two_processes_exclude_each_other),
  };
  return run_tests(tests, sizeof tests / sizeof *tests);
}
