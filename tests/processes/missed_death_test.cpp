// A death that the kernel did not put into the lock's word. Whoever wants the lock finds out all the same,
// however it goes about it.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "dying_owner.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"

using heirlock::AcquireResult;
using std::chrono::milliseconds;
using support::Birth;
using support::Child;
using support::Gate;

namespace {

struct MissedDeathOf {
  MissedDeathOf() : dead_owner(Death::by_exec_of_other_thread, [this] { lock->lock(); }) { dead_owner.die(); }

  support::SharedLock lock;
  DyingOwner dead_owner;
};
class MissedDeath : public testing::Test, protected MissedDeathOf {};

// Spec: lock.inherit.missed, lock.inherit.exec
TEST_F(MissedDeath, is_found_by_an_acquire_that_waits) {
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
}

// The system knows no such thread, and says so in errno.
// Spec: lock.inherit.missed, lock.error.errno
TEST_F(MissedDeath, is_found_by_a_short_timed_acquire) {
  constexpr int of_the_caller = 4711;
  errno = of_the_caller;
  const AcquireResult result = lock->acquire_for(milliseconds(1));
  const int now = errno;
  EXPECT_EQ(now, of_the_caller);
  EXPECT_EQ(result, AcquireResult::inherited);
}

// Spec: lock.inherit.missed
TEST_F(MissedDeath, is_found_by_trying_again_and_again) {
  constexpr int more_than_enough = 1000;
  AcquireResult result = AcquireResult::not_acquired;
  for (int i = 0; i < more_than_enough && result == AcquireResult::not_acquired; ++i)
    result = lock->try_acquire();
  EXPECT_EQ(result, AcquireResult::inherited);
}

// Spec: lock.inherit.missed
TEST_F(MissedDeath, is_found_by_threads_that_try_once) {
  constexpr int more_than_enough = 2000;
  AcquireResult result = AcquireResult::not_acquired;
  for (int i = 0; i < more_than_enough && result == AcquireResult::not_acquired; ++i)
    std::thread([&] { result = lock->try_acquire(); }).join();
  EXPECT_EQ(result, AcquireResult::inherited);
}

// Counts of 61 tries, or of a divisor of 64, would keep step with these turns and never ask.
// Spec: lock.inherit.missed
TEST(AMissedDeath, is_found_by_trying_many_locks_in_turn) {
  constexpr int more_than_enough = 1000;
  constexpr int others = 61 * 64 - 1;
  support::SharedLock busy;
  busy->lock();
  const auto try_the_others = [&] {
    for (int i = 0; i < others; ++i) EXPECT_FALSE(busy->try_lock());
  };
  for (const bool others_come_first : {false, true}) {
    MissedDeathOf missed;
    std::thread([&] {
      AcquireResult result = AcquireResult::not_acquired;
      for (int i = 0; i < more_than_enough && result == AcquireResult::not_acquired; ++i) {
        if (others_come_first) try_the_others();
        result = missed.lock->try_acquire();
        if (!others_come_first) try_the_others();
      }
      EXPECT_EQ(result, AcquireResult::inherited) << "the others come first: " << others_come_first;
    }).join();
  }
  busy->unlock();
}

// Spec: lock.inherit.missed, lock.acquire.signal
TEST_F(MissedDeath, is_found_under_a_hail_of_signals) {
  struct sigaction ignoring = {};
  ignoring.sa_handler = [](int) {};
  struct sigaction before = {};
  ASSERT_EQ(sigaction(SIGVTALRM, &ignoring, &before), 0);
  const pthread_t waiter = pthread_self();
  std::atomic<bool> over{false};
  std::thread hail([&] {
    while (!over) {
      pthread_kill(waiter, SIGVTALRM);
      std::this_thread::sleep_for(milliseconds(1));  // the interval of the signals, not a synchronisation
    }
  });
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);  // if the signals put it off, it would never end
  over = true;
  hail.join();
  sigaction(SIGVTALRM, &before, nullptr);
}

// Spec: lock.error.cancellation
TEST_F(MissedDeath, is_found_before_a_cancellation) {
  std::atomic<bool> is_asked{false};
  Gate acquired;
  std::thread cancelled([&] {
    while (!is_asked) std::this_thread::yield();  // no cancellation point, as a Gate would be
    EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
    lock->release();
    acquired.open();
    pthread_testcancel();
    ADD_FAILURE() << "it was not cancelled";
  });
  pthread_cancel(cancelled.native_handle());
  is_asked = true;
  acquired.wait();
  cancelled.join();
}

// /proc may show another PID namespace than the caller's, in which other threads have the same ids.
// Spec: lock.inherit.stopped, lock.acquire.exclusion
TEST(ALivingOwner, is_not_taken_for_a_dead_namesake) {
  support::InSharedMemory<bool> is_permitted;
  support::SharedLock lock;
  Child outer(Birth::fork, [&] {
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return;
    Child first(Birth::fork, [&] {
      // This namespace has a zombie, and /proc shows it.
      if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
      if (mount("proc", "/proc", "proc", 0, nullptr) != 0) return;
      const pid_t zombie = fork();
      if (zombie == 0) _exit(0);
      siginfo_t end{};
      if (waitid(P_PID, static_cast<id_t>(zombie), &end, WEXITED | WNOWAIT) != 0) return;
      if (unshare(CLONE_NEWPID) != 0) return;
      *is_permitted = true;
      // And the one below, which keeps the same /proc, has a living owner with the same thread id.
      Child inner(Birth::fork, [&] {
        while (getpid() < zombie) {  // each child has a higher id
          const pid_t next = fork();
          if (next == 0) continue;
          int status = 0;
          waitpid(next, &status, 0);
          _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
        EXPECT_EQ(getpid(), zombie);
        lock->lock();
        Child waiter(Birth::fork, [&] {
          EXPECT_EQ(lock->acquire_for(milliseconds(200)), AcquireResult::not_acquired);
          EXPECT_EQ(lock->owner(), zombie);
        });
        waiter.join();
        EXPECT_TRUE(lock->is_owned());
        lock->release();
        fflush(nullptr);
        _exit(HasFailure() ? 1 : 0);
      });
      inner.join();
    });
    first.join();
  });
  outer.join();
  if (!*is_permitted) GTEST_SKIP() << "this system permits no new PID and mount namespace";
}

}  // namespace
