// Where the clock stands still, or is refused: a waiter sleeps all the same, and errno stays.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"

using heirlock::AcquireResult;
using support::BetweenParties;
using support::Party;

namespace {

enum class Clock { runs, stands_still, is_refused };
thread_local Clock clock_of_this_thread = Clock::runs;
thread_local timespec stopped_at{};

int ask_the_kernel(clockid_t clock, timespec* time) {
  return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
}

class WithoutAClock : public BetweenParties {
 protected:
  static void stop_the_clock() {
    ask_the_kernel(CLOCK_MONOTONIC, &stopped_at);
    clock_of_this_thread = Clock::stands_still;
  }
};
INSTANTIATE_TEST_SUITE_P(As, WithoutAClock, support::each_kind_of_party, support::kind_name);

// Spec: lock.acquire.blocking
TEST_P(WithoutAClock, a_waiter_sleeps) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    stop_the_clock();
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
}

// Spec: lock.error.errno
TEST_P(WithoutAClock, an_acquire_that_waits_leaves_errno) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    clock_of_this_thread = Clock::is_refused;
    errno = 4711;
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(errno, 4711);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
}

}  // namespace

// In place of libc's, for the library and all else in this program.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  switch (clock_of_this_thread) {
    case Clock::runs:
      break;
    case Clock::stands_still:
      *time = stopped_at;
      return 0;
    case Clock::is_refused:
      errno = EPERM;
      return -1;
  }
  return ask_the_kernel(clock, time);
}
