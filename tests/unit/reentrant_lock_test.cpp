#include "heirlock/reentrant_lock.hpp"

#include <gtest/gtest.h>

#include "support/party.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::As;
using support::Gate;
using support::InSharedMemory;
using support::Party;

namespace {

// Every claim below is proved between threads and between processes, by the same body.
class BetweenParties : public testing::TestWithParam<As> {
 protected:
  InSharedMemory<ReentrantLock> lock;
};
INSTANTIATE_TEST_SUITE_P(As, BetweenParties, testing::Values(As::thread, As::process),
                         testing::PrintToStringParamName());

// Spec: lock.release.owner-only
TEST_P(BetweenParties, a_release_by_a_stranger_throws_and_changes_nothing) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party(GetParam(), [&] { EXPECT_THROW(lock->release(), heirlock::AssertionError); }).join();
  EXPECT_TRUE(lock->is_owned());
  lock->release();
}

// Spec: lock.acquire.blocking
TEST_P(BetweenParties, a_sleeping_waiter_gets_the_lock_when_it_is_released) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party waiter(GetParam(), [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep();
  lock->release();
  waiter.join();
}

}  // namespace
