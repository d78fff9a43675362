// Where the clock stands still a waiter sleeps all the same; where it is refused, the program ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::BetweenParties;
using support::InSharedMemory;
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

// Spec: lock.error.kernel
TEST(ARefusedClock, ends_a_waiters_program_with_a_message) {
  InSharedMemory<ReentrantLock> lock;
  support::set_word(*lock, 1);  // the owner is process 1
  EXPECT_EXIT(
      {
        clock_of_this_thread = Clock::is_refused;
        static_cast<void>(lock->acquire());
      },
      testing::KilledBySignal(SIGABRT),
      "heirlock: clock_gettime\\(CLOCK_MONOTONIC\\) failed: Operation not permitted; if a sandbox "
      "filters system calls, allow this one");
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
