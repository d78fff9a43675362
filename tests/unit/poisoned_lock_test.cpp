// The standard's guards over a lock whose owner died, until somebody has called repaired().
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <mutex>

#include "unit/either_lock.hpp"

using heirlock::AcquireResult;
using support::As;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using namespace std::chrono_literals;

namespace {

template <class Lock>
class PoisonedLock : public testing::Test {
 protected:
  PoisonedLock() { poisoned.poison(); }

  Either<Lock> poisoned;
  Either<Lock> healthy;
  heirlock::ReentrantLock& mutex = *poisoned.mutex;

  // Each takes the lock, unless it throws, and gives it back.
  const std::function<void()> guards[7] = {
      [this] { const std::lock_guard guard(poisoned.lock); },
      [this] { const std::unique_lock guard(poisoned.lock, std::try_to_lock); },
      [this] { const std::unique_lock guard(poisoned.lock, 1h); },
      [this] { const std::unique_lock guard(poisoned.lock, std::chrono::steady_clock::now() + 1h); },
      [this] { const std::unique_lock guard(poisoned.lock, std::chrono::system_clock::now() + 1h); },
      [this] { const std::scoped_lock guard(poisoned.lock, healthy.lock); },
      [this] { const std::scoped_lock guard(healthy.lock, poisoned.lock); },
  };
};
TYPED_TEST_SUITE(PoisonedLock, EitherLock);

// Spec: lock.poison.throws, lock.poison.guards, lockable.recover.default
TYPED_TEST(PoisonedLock, makes_each_guard_throw_again_and_again) {
  for (int round = 0; round < 2; ++round) {
    for (const auto& guard : this->guards) {
      const testing::ScopedTrace trace(__FILE__, __LINE__, &guard - this->guards);
      EXPECT_TRUE(throws_owner_dead(guard));
      EXPECT_TRUE(this->poisoned.is_free(true));
      EXPECT_TRUE(this->healthy.is_free(false));
    }
  }
}

// Spec: lock.poison.throws
TYPED_TEST(PoisonedLock, is_whole_again_after_repaired) {
  EXPECT_EQ(this->mutex.acquire(), AcquireResult::inherited);
  this->mutex.repaired();
  this->mutex.release();
  for (const auto& guard : this->guards) {
    EXPECT_NO_THROW(guard());
    EXPECT_TRUE(this->poisoned.is_free(false));
  }
}

// Spec: lock.poison.throws
TYPED_TEST(PoisonedLock, throws_again_after_an_owner_that_repaired_nothing) {
  EXPECT_EQ(this->mutex.acquire(), AcquireResult::inherited);
  this->mutex.release();
  EXPECT_TRUE(throws_owner_dead(this->guards[0]));
}

// Spec: lock.poison.reentry
TYPED_TEST(PoisonedLock, lets_the_owner_that_inherited_it_reenter) {
  EXPECT_EQ(this->mutex.acquire(), AcquireResult::inherited);
  for (const auto& guard : this->guards) {
    EXPECT_NO_THROW(guard());
    EXPECT_EQ(this->mutex.depth(), 1U);
  }
  EXPECT_TRUE(this->mutex.needs_repair());
  this->mutex.release();
}

// Spec: lock.poison.throws
TYPED_TEST(PoisonedLock, throws_in_a_guard_that_waited_for_it) {
  EXPECT_EQ(this->mutex.acquire(), AcquireResult::inherited);
  Party waiter(As::thread, [&] { EXPECT_TRUE(throws_owner_dead(this->guards[0])); });
  waiter.wait_until_asleep_on(&this->mutex);
  this->mutex.release();
}

template <class Lock>
class AnOwner : public testing::Test {};
TYPED_TEST_SUITE(AnOwner, EitherLock);

// Spec: lock.poison.throws, lockable.recover.default
TYPED_TEST(AnOwner, killed_half_way_shows_no_guard_what_it_wrote) {
  struct Pair {
    int first = 0;
    int second = 0;
  };
  Either<TypeParam> either;
  InSharedMemory<Pair> pair;
  Gate half_way;
  Party victim(As::process, [&] {
    const std::lock_guard guard(either.lock);
    pair->first = 1;
    half_way.open();
    Gate().wait();
    pair->second = 1;
  });
  half_way.wait();
  victim.kill();
  EXPECT_TRUE(throws_owner_dead([&] {
    const std::lock_guard guard(either.lock);
    EXPECT_EQ(pair->first, pair->second);
  }));
}

}  // namespace
