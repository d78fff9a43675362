// Two schedules that strand a waiter of glibc's robust mutex, and nobody here: a releaser, or a waiter that
// was woken, is killed between two steps while a third process takes the lock. All sleep without the
// backstop, so one that is forgotten sleeps for ever. tests/crash has the other schedules, with a kill at
// each instruction.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/exit_walk.hpp"
#include "support/libc_mutex.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/traced.hpp"
#include "support/waiter.hpp"
#include "support/without_backstop.hpp"

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

using heirlock::AcquireResult;
using support::As;
using support::Gate;
using support::InSharedMemory;
using support::LockWithoutBackstop;
using support::Party;
using support::SharedLock;
using support::Traced;
using support::Waiter;

namespace {

struct Heirlock {
  void acquire() { EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired); }
  bool try_acquire() { return LockWithoutBackstop(*lock).try_acquire() == AcquireResult::acquired; }
  void release() { LockWithoutBackstop(*lock).release(); }
  const void* word() const { return &*lock; }
  bool is_free() const { return lock->owner() == 0; }

  static constexpr bool drops_waiters = false;
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
    process_.wait_until_asleep_on(lock_.word());
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
  constexpr long mark = SYS_sched_yield;
  Traced releaser([&] {
    lock.acquire();
    syscall(mark);
    lock.release();
  });
  EXPECT_TRUE(releaser.go_on_until_it_calls(mark));
  Sleeper<Lock> sleeper(lock);
  EXPECT_TRUE(releaser.go_on_until_it_calls(SYS_futex));  // to wake one
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
  Traced woken([&] { lock.acquire(); });
  EXPECT_TRUE(woken.go_on_until_it_calls(SYS_futex));  // to wait
  woken.resume();
  support::wait_until_asleep_on(woken.pid(), lock.word());
  Sleeper<Lock> sleeper(lock);
  lock.release();  // wakes the one that has slept longest
  EXPECT_TRUE(woken.wait_for_stop());
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
    if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  }
};

// Spec: lock.acquire.progress, kernel.pending-foreign
TEST_F(Stranding, befalls_nobody_when_a_releaser_is_killed) {
  Heirlock heirlock;
  EXPECT_EQ(of_a_sleeper_whose_releaser_is_killed(heirlock), Fate::got_the_lock);
  LibcMutex mutex;
  report_what_libc_does(of_a_sleeper_whose_releaser_is_killed(mutex));  // seen, not asserted
}

// Spec: lock.acquire.progress, kernel.pending-foreign
TEST_F(Stranding, befalls_nobody_when_a_woken_waiter_is_killed) {
  Heirlock heirlock;
  EXPECT_EQ(of_a_sleeper_whose_woken_fellow_is_killed(heirlock), Fate::got_the_lock);
  LibcMutex mutex;
  report_what_libc_does(of_a_sleeper_whose_woken_fellow_is_killed(mutex));
}

}  // namespace
