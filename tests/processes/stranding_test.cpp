// The schedules by which a sleeper could be forgotten: a releaser, or a waiter that was woken, is killed
// between two steps while a third process takes the lock. Each is forced, step by step. All sleep without the
// backstop, so one that is forgotten sleeps for ever.
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <optional>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/exit_walk.hpp"
#include "support/futex_stops.hpp"
#include "support/libc_mutex.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"
#include "support/without_backstop.hpp"

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::As;
using support::FutexStops;
using support::Gate;
using support::InSharedMemory;
using support::LockWithoutBackstop;
using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

// --- One schedule, two locks ---------------------------------------------------------------------------

struct Heirlock {
  void acquire() { EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired); }
  bool try_acquire() { return LockWithoutBackstop(*lock).try_acquire() == AcquireResult::acquired; }
  void release() { LockWithoutBackstop(*lock).release(); }
  const void* word() const { return &*lock; }
  bool is_free() const { return lock->owner() == 0; }

  static constexpr bool drops_waiters = false;
  static constexpr int wait_call = FUTEX_WAIT_BITSET;
  static constexpr std::chrono::seconds patience = Waiter::patience;

  SharedLock lock;
};

// libc's nearest relative.
struct LibcMutex {
  LibcMutex() { EXPECT_EQ(support::make_libc_mutex(*mutex, PTHREAD_MUTEX_RECURSIVE, true), 0); }
  void acquire() { EXPECT_EQ(pthread_mutex_lock(&*mutex), 0); }
  bool try_acquire() { return pthread_mutex_trylock(&*mutex) == 0; }
  void release() { EXPECT_EQ(pthread_mutex_unlock(&*mutex), 0); }
  const void* word() const { return &*mutex; }
  bool is_free() const { return *static_cast<const volatile int*>(word()) == 0; }

  static constexpr bool drops_waiters = true;
  static constexpr int wait_call = FUTEX_WAIT;
  static constexpr std::chrono::seconds patience{1};  // it is only looked at, and most likely stranded

  InSharedMemory<pthread_mutex_t> mutex;
};

enum class Fate { got_the_lock, is_stranded_on_a_free_lock, is_still_waiting };
std::ostream& operator<<(std::ostream& out, Fate fate) {
  return out << (fate == Fate::got_the_lock                 ? "got the lock"
                 : fate == Fate::is_stranded_on_a_free_lock ? "is stranded on a free lock"
                                                            : "is still waiting for a lock that is not free");
}

// A process that sleeps in an acquire when the constructor returns.
template <class Lock>
class Sleeper {
 public:
  explicit Sleeper(Lock& lock)
      : lock_(lock), process_(As::process, [this] {
          lock_.acquire();
          got_it_.open();
          lock_.release();
        }) {
    process_.wait_until_asleep();
  }
  ~Sleeper() {
    if (!is_done_) process_.kill();
  }
  Fate fate() {
    is_done_ = got_it_.wait_for(Lock::patience);
    if (is_done_) return Fate::got_the_lock;
    return lock_.is_free() && is_asleep() ? Fate::is_stranded_on_a_free_lock : Fate::is_still_waiting;
  }
  bool is_asleep() const { return support::is_asleep_on(process_.tid(), lock_.word()); }
  void kill() {
    process_.kill();
    is_done_ = true;
  }
  pid_t pid() const { return process_.tid(); }

 private:
  Lock& lock_;
  Gate got_it_;
  bool is_done_ = false;
  Party process_;
};

// The walk since 2026 wakes a sleeper on a lock that another thread has taken without WAITERS.
template <class Lock>
bool may_be_woken_at_the_kill() {
  return Lock::drops_waiters && support::exit_walk_of_this_kernel() == support::ExitWalk::since_2026;
}

// The releaser is killed after it has freed the lock and before it wakes, and meanwhile another takes the
// lock. Returns what becomes of a sleeper.
template <class Lock>
Fate of_a_sleeper_whose_releaser_is_killed(Lock& lock) {
  Gate holds, may_release;
  Party releaser(As::process, [&] {
    lock.acquire();
    holds.open();
    may_release.wait();
    lock.release();
  });
  holds.wait();
  Sleeper<Lock> sleeper(lock);
  FutexStops stops(releaser.tid(), lock.word());
  may_release.open();
  EXPECT_TRUE(stops.run_to_call(FUTEX_WAKE));
  EXPECT_TRUE(lock.try_acquire()) << "the lock is free before the wake-up";
  releaser.kill();
  EXPECT_TRUE(sleeper.is_asleep() || may_be_woken_at_the_kill<Lock>());
  lock.release();
  return sleeper.fate();
}

// A sleeper is woken and killed before it runs, and meanwhile another takes the lock. Returns what becomes of
// a second sleeper.
template <class Lock>
Fate of_a_sleeper_whose_woken_fellow_is_killed(Lock& lock) {
  lock.acquire();
  Sleeper<Lock> woken(lock);
  FutexStops stops(woken.pid(), lock.word());
  EXPECT_TRUE(stops.run_to_call(Lock::wait_call));
  stops.fall_asleep();
  Sleeper<Lock> sleeper(lock);
  lock.release();  // wakes the one that has slept longest
  EXPECT_TRUE(stops.run_to_return(Lock::wait_call));
  EXPECT_TRUE(lock.try_acquire()) << "the lock is free before the woken one runs";
  woken.kill();
  EXPECT_TRUE(sleeper.is_asleep() || may_be_woken_at_the_kill<Lock>());
  lock.release();
  return sleeper.fate();
}

// Stranded by the walks before 2026; by that since then it gets the mutex.
void report_what_libc_does(Fate of_its_waiter) {
#if defined(__GLIBC__)
  std::cout << "glibc " << gnu_get_libc_version();
#else
  std::cout << "this libc";
#endif
  std::cout << " on this schedule: the waiter " << of_its_waiter << "; the kernel's exit walk is that "
            << support::exit_walk_of_this_kernel() << std::endl;
}

class Stranding : public testing::Test {
 protected:
  void SetUp() override {
    if (!FutexStops::are_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  }
};

// Spec: lock.acquire.progress, kernel.pending-foreign
TEST_F(Stranding, the_schedule_that_strands_a_glibc_waiter_strands_nobody_here) {
  Heirlock heirlock;
  EXPECT_EQ(of_a_sleeper_whose_releaser_is_killed(heirlock), Fate::got_the_lock);
  LibcMutex mutex;
  report_what_libc_does(of_a_sleeper_whose_releaser_is_killed(mutex));  // seen, not asserted
}

// Spec: lock.acquire.progress, kernel.pending-foreign
TEST_F(Stranding, killing_a_woken_waiter_while_another_takes_the_lock_strands_nobody) {
  Heirlock heirlock;
  EXPECT_EQ(of_a_sleeper_whose_woken_fellow_is_killed(heirlock), Fate::got_the_lock);
  LibcMutex mutex;
  report_what_libc_does(of_a_sleeper_whose_woken_fellow_is_killed(mutex));
}

// --- The rest is about heirlock alone ------------------------------------------------------------------

class AReleaser : public Stranding {
 protected:
  // Gets the lock, and when the test lets it, does `release` and sleeps until it is killed.
  Party releaser(std::function<void()> release) {
    return Party(As::process, [this, release = std::move(release)] {
      static_cast<void>(LockWithoutBackstop(*lock).acquire());
      holds.open();
      may_release.wait();
      release();
      for (;;) pause();
    });
  }
  // A waiter that gave up leaves WAITERS in the word and nobody asleep: the release that finds nobody to wake
  // makes the next one drop the bit and wake all, in one step of the kernel.
  Party releaser_in_one_step() {
    return Party(As::process, [this] {
      LockWithoutBackstop own(*lock);
      static_cast<void>(own.acquire());
      Party(As::process, [this] {
        while ((support::word_of(*lock) & heirlock::detail::waiters_bit) == 0)  // its time may be over before
          EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
      }).join();
      own.release();
      static_cast<void>(own.acquire());
      holds.open();
      may_release.wait();
      own.release();
      for (;;) pause();
    });
  }
  void let_an_owner_die() {
    Party(As::process, [this] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired); }).join();
  }

  SharedLock lock;
  Gate holds, may_release;
};

// Spec: lock.acquire.progress, kernel.pending-free
TEST_F(AReleaser, killed_before_its_wake_leaves_the_wake_to_the_kernel) {
  Party owner = releaser([this] { lock->release(); });
  holds.wait();
  Waiter waiter(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAKE));
  owner.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.acquire.progress, lock.inherit.flag, kernel.pending-free
TEST_F(AReleaser, that_had_inherited_and_is_killed_before_its_wake_leaves_the_flag) {
  let_an_owner_die();
  Party owner = releaser([this] { lock->release(); });
  holds.wait();
  Waiter waiter(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAKE));
  owner.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.acquire.progress, kernel.pending-free
TEST_F(AReleaser, killed_after_its_wake_wakes_one_too_many_at_worst) {
  Party owner = releaser([this] { lock->release(); });
  holds.wait();
  Waiter first(*lock);
  Waiter second(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_return(FUTEX_WAKE));
  owner.kill();
  EXPECT_EQ(first.result(), AcquireResult::acquired);
  EXPECT_EQ(second.result(), AcquireResult::acquired);
}

// Spec: lock.acquire.progress, lock.inherit.sleeper
TEST_F(AReleaser, killed_before_its_wake_leaves_a_sleeper_who_inherits_when_the_third_dies_as_well) {
  Party owner = releaser([this] { lock->release(); });
  holds.wait();
  Waiter waiter(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAKE));
  Gate third_holds;
  Party third(As::process, [&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
    third_holds.open();
    for (;;) pause();
  });
  third_holds.wait();
  owner.kill();
  third.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// The lock is not yet free there: free and wake are one step.
// Spec: lock.inherit.death, lock.inherit.sleeper, kernel.wake-op
TEST_F(AReleaser, killed_before_it_frees_and_wakes_in_one_step_is_a_dead_owner) {
  Party owner = releaser_in_one_step();
  holds.wait();
  Waiter first(*lock);
  Waiter second(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAKE_OP));
  EXPECT_EQ(lock->owner(), owner.tid());
  owner.kill();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
}

// Spec: lock.acquire.progress, kernel.wake-op
TEST_F(AReleaser, killed_after_it_freed_and_woke_in_one_step_has_woken_all) {
  Party owner = releaser_in_one_step();
  holds.wait();
  Waiter first(*lock);
  Waiter second(*lock);
  FutexStops stops(owner.tid(), &*lock);
  may_release.open();
  ASSERT_TRUE(stops.run_to_return(FUTEX_WAKE_OP));
  owner.kill();
  EXPECT_EQ(first.result(), AcquireResult::acquired);
  EXPECT_EQ(second.result(), AcquireResult::acquired);
}

// Spec: lock.acquire.progress, kernel.wake-op
TEST_F(AReleaser, that_frees_and_wakes_in_one_step_forgets_nobody_when_a_third_takes_the_lock_at_once) {
  Party owner = releaser_in_one_step();
  holds.wait();
  Waiter woken(*lock);
  FutexStops stops_of_woken(woken.pid(), &*lock);
  ASSERT_TRUE(stops_of_woken.run_to_call(FUTEX_WAIT_BITSET));
  stops_of_woken.fall_asleep();
  Waiter also_woken(*lock);
  std::optional<FutexStops> stops_of_also_woken(std::in_place, also_woken.pid(), &*lock);
  ASSERT_TRUE(stops_of_also_woken->run_to_call(FUTEX_WAIT_BITSET));
  stops_of_also_woken->fall_asleep();
  may_release.open();
  ASSERT_TRUE(stops_of_woken.run_to_return(FUTEX_WAIT_BITSET));
  ASSERT_TRUE(stops_of_also_woken->run_to_return(FUTEX_WAIT_BITSET));
  ASSERT_EQ(LockWithoutBackstop(*lock).try_acquire(), AcquireResult::acquired);
  EXPECT_EQ(support::word_of(*lock), support::my_tid()) << "no bit is left of those who were woken";
  woken.kill();
  // The other finds the lock taken, says again that it waits, and sleeps again.
  ASSERT_TRUE(stops_of_also_woken->run_to_call(FUTEX_WAIT_BITSET));
  stops_of_also_woken->fall_asleep();
  stops_of_also_woken.reset();
  LockWithoutBackstop(*lock).release();
  EXPECT_EQ(also_woken.result(), AcquireResult::acquired);
  owner.kill();
}

class AWokenWaiter : public Stranding {
 protected:
  SharedLock lock;
};

// Spec: lock.acquire.progress, kernel.pending-free
TEST_F(AWokenWaiter, killed_before_it_runs_passes_its_wake_on) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter woken(*lock);
  FutexStops stops(woken.pid(), &*lock);
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAIT_BITSET));
  stops.fall_asleep();
  Waiter waiter(*lock);
  lock->release();
  ASSERT_TRUE(stops.run_to_return(FUTEX_WAIT_BITSET));
  woken.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.inherit.sleeper, kernel.pending-free
TEST_F(AWokenWaiter, of_a_dead_owner_killed_before_it_runs_passes_the_inheritance_on) {
  Gate holds;
  Party owner(As::process, [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  holds.wait();
  Waiter woken(*lock);
  FutexStops stops(woken.pid(), &*lock);
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAIT_BITSET));
  stops.fall_asleep();
  Waiter waiter(*lock);
  owner.kill();
  ASSERT_TRUE(stops.run_to_return(FUTEX_WAIT_BITSET));
  woken.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper
TEST_F(AWokenWaiter, killed_while_a_third_has_taken_the_lock_leaves_a_sleeper_who_inherits_from_the_third) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter woken(*lock);
  FutexStops stops(woken.pid(), &*lock);
  ASSERT_TRUE(stops.run_to_call(FUTEX_WAIT_BITSET));
  stops.fall_asleep();
  Waiter waiter(*lock);
  lock->release();
  ASSERT_TRUE(stops.run_to_return(FUTEX_WAIT_BITSET));
  Gate third_holds;
  Party third(As::process, [&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
    third_holds.open();
    for (;;) pause();
  });
  third_holds.wait();
  woken.kill();
  third.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

}  // namespace
