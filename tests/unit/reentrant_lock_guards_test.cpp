// The standard's guards over ReentrantLock.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"

using heirlock::ReentrantLock;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::steady_clock;
using support::BetweenParties;
using support::InSharedMemory;
using support::Party;

namespace {

INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

using Unique = std::unique_lock<ReentrantLock>;

// Spec: lockable.guards
TEST_P(BetweenParties, a_lock_guard_holds_the_lock_for_its_scope) {
  other([&] {
    {
      const std::lock_guard<ReentrantLock> guard(*lock);
      EXPECT_TRUE(lock->is_owned());
    }
    EXPECT_FALSE(lock->is_owned());
  }).join();
}

// Spec: lockable.guards, lock.reentry.depth
TEST_P(BetweenParties, lock_guards_nest) {
  other([&] {
    const std::lock_guard<ReentrantLock> outer(*lock);
    {
      const std::lock_guard<ReentrantLock> inner(*lock);
      EXPECT_EQ(lock->depth(), 2U);
    }
    EXPECT_EQ(lock->depth(), 1U);
  }).join();
  EXPECT_EQ(lock->owner(), 0);
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_guard_releases_when_an_exception_passes) {
  other([&] {
    EXPECT_THROW(
        {
          const std::lock_guard<ReentrantLock> guard(*lock);
          throw std::runtime_error("passes");
        },
        std::runtime_error);
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_unique_lock_that_tries_owns_a_free_lock) {
  other([&] {
    EXPECT_TRUE(Unique(*lock, std::try_to_lock).owns_lock());
    EXPECT_TRUE(Unique(*lock, milliseconds(1)).owns_lock());
    EXPECT_TRUE(Unique(*lock, steady_clock::now() + milliseconds(1)).owns_lock());
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_unique_lock_that_tries_does_not_own_a_busy_lock) {
  const Unique owner(*lock);
  other([&] {
    EXPECT_FALSE(Unique(*lock, std::try_to_lock).owns_lock());
    EXPECT_FALSE(Unique(*lock, milliseconds(2)).owns_lock());
    EXPECT_FALSE(Unique(*lock, steady_clock::now() + milliseconds(2)).owns_lock());
  }).join();
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_unique_lock_with_a_timeout_waits_for_the_release) {
  Unique owner(*lock);
  Party waiter = other([&] { EXPECT_TRUE(Unique(*lock, minutes(1)).owns_lock()); });
  waiter.wait_until_asleep_on(&*lock);
  owner.unlock();
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_unique_lock_locks_and_unlocks_by_hand) {
  other([&] {
    Unique guard(*lock, std::defer_lock);
    EXPECT_FALSE(lock->is_owned());
    guard.lock();
    EXPECT_TRUE(lock->is_owned());
    guard.unlock();
    EXPECT_TRUE(guard.try_lock());
    guard.unlock();
    EXPECT_TRUE(guard.try_lock_for(milliseconds(1)));
    guard.unlock();
    EXPECT_TRUE(guard.try_lock_until(steady_clock::now()));
    guard.unlock();
    EXPECT_FALSE(lock->is_owned());
  }).join();
}

// Spec: lockable.guards
TEST_P(BetweenParties, try_lock_tells_a_busy_lock_from_a_free_one) {
  {
    const Unique owner(*lock);
    other([&] { EXPECT_FALSE(lock->try_lock()); }).join();
  }
  other([&] {
    EXPECT_TRUE(lock->try_lock());
    lock->unlock();
  }).join();
}

// Spec: lockable.guards
TEST_P(BetweenParties, a_scoped_lock_holds_two_locks) {
  InSharedMemory<ReentrantLock> second;
  other([&] {
    {
      const std::scoped_lock both(*lock, *second);
      EXPECT_TRUE(lock->is_owned() && second->is_owned());
    }
    EXPECT_FALSE(lock->is_owned() || second->is_owned());
  }).join();
}

// Spec: lockable.guards, lock.acquire.exclusion
TEST_P(BetweenParties, scoped_locks_of_the_same_two_in_either_order_end) {
  constexpr std::uint64_t rounds = 1500;
  InSharedMemory<ReentrantLock> second;
  InSharedMemory<std::uint64_t> count;
  const auto play = [&](ReentrantLock& former, ReentrantLock& latter) {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      const std::scoped_lock both(former, latter);
      ++*count;
    }
  };
  Party one = other([&] { play(*lock, *second); });
  Party two = other([&] { play(*second, *lock); });
  one.join();
  two.join();
  EXPECT_EQ(*count, 2 * rounds);
}

// Spec: lockable.guards
TEST_P(BetweenParties, std_lock_takes_two_and_std_try_lock_tells_which_is_busy) {
  InSharedMemory<ReentrantLock> second;
  other([&] {
    std::lock(*lock, *second);
    EXPECT_TRUE(lock->is_owned() && second->is_owned());
    lock->unlock();
    second->unlock();
  }).join();
  const Unique owner(*second);
  other([&] {
    EXPECT_EQ(std::try_lock(*lock, *second), 1);
    EXPECT_FALSE(lock->is_owned());
  }).join();
}

}  // namespace
