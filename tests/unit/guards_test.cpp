// The standard's guards and its condition variable, over a ReentrantLock and over a Lockable.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "unit/either_lock.hpp"

using heirlock::AcquireResult;
using support::As;
using support::Party;
using namespace std::chrono_literals;

namespace {

// --- Guards over a lock that is whole

template <class Lock>
class Guards : public testing::Test {
 protected:
  Either<Lock> one;
  Either<Lock> two;
};
TYPED_TEST_SUITE(Guards, EitherLock);

// Spec: lockable.guards
TYPED_TEST(Guards, tell_whether_they_got_the_lock) {
  using Unique = std::unique_lock<std::remove_reference_t<TypeParam>>;
  auto& lock = this->one.lock;
  const auto a_moment = [] { return std::chrono::steady_clock::now() + 1ms; };
  Unique owner(lock);
  Party(As::process, [&] {
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(Unique(lock, std::try_to_lock).owns_lock());
    EXPECT_FALSE(Unique(lock, 1ms).owns_lock());
    EXPECT_FALSE(Unique(lock, a_moment()).owns_lock());
    EXPECT_EQ(std::try_lock(this->two.lock, lock), 1);
    EXPECT_EQ(this->two.mutex->owner(), 0);
  }).join();
  Party waiter(As::process, [&] { EXPECT_TRUE(Unique(lock, 1h).owns_lock()); });
  waiter.wait_until_asleep_on(&*this->one.mutex);
  owner.unlock();
  waiter.join();
  EXPECT_TRUE(Unique(lock, a_moment()).owns_lock());
  EXPECT_EQ(this->one.mutex->owner(), 0);
}

// Spec: lockable.guards, lock.reentry.depth
TYPED_TEST(Guards, nest_and_release_when_an_exception_passes) {
  auto& mutex = *this->one.mutex;
  EXPECT_THROW(
      {
        const std::lock_guard outer(this->one.lock);
        const std::lock_guard inner(this->one.lock);
        EXPECT_EQ(mutex.depth(), 2U);
        throw std::runtime_error("passes");
      },
      std::runtime_error);
  EXPECT_EQ(mutex.owner(), 0);
}

// --- Guards over a lock whose owner died, until somebody has called repaired()

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

// --- std::condition_variable_any, between threads

template <class Lock>
class ConditionVariable : public testing::Test {
 protected:
  void wait_until_asleep(const Party& waiter) const {
    while (!is_held) std::this_thread::yield();
    support::wait_until_asleep_in_futex(waiter.tid());
  }

  Either<Lock> either;
  heirlock::ReentrantLock& mutex = *either.mutex;
  std::atomic<bool> is_held{false};
  std::atomic<bool> is_set{false};
  std::condition_variable_any changed;
};
TYPED_TEST_SUITE(ConditionVariable, EitherLock);

// Spec: lock.condition
TYPED_TEST(ConditionVariable, gives_back_a_lock_held_once) {
  Party waiter(As::thread, [this] {
    std::unique_lock hold(this->either.lock);
    this->is_held = true;
    this->changed.wait(hold, [this] { return this->is_set.load(); });
    EXPECT_EQ(this->mutex.depth(), 1U);
  });
  this->wait_until_asleep(waiter);
  EXPECT_TRUE(this->either.lock.try_lock());
  this->is_set = true;
  this->either.lock.unlock();
  this->changed.notify_one();
}

// Spec: lock.condition
TYPED_TEST(ConditionVariable, keeps_a_lock_held_twice_while_it_waits) {
  Party waiter(As::thread, [this] {
    const std::lock_guard outer(this->either.lock);
    std::unique_lock inner(this->either.lock);
    this->is_held = true;
    this->changed.wait(inner, [this] { return this->is_set.load(); });
    EXPECT_EQ(this->mutex.depth(), 2U);
  });
  this->wait_until_asleep(waiter);
  EXPECT_FALSE(this->either.lock.try_lock());
  this->is_set = true;
  this->changed.notify_one();
}

#ifdef __GLIBCXX__  // the standard lets others terminate the program
// Spec: lock.condition, lock.poison.throws
TYPED_TEST(ConditionVariable, passes_on_that_an_owner_died_meanwhile) {
  Party waiter(As::thread, [this] {
    std::unique_lock hold(this->either.lock);
    this->is_held = true;
    EXPECT_TRUE(throws_owner_dead([&] { this->changed.wait(hold); }));
    EXPECT_FALSE(hold.owns_lock());
    EXPECT_FALSE(this->mutex.is_owned());
  });
  this->wait_until_asleep(waiter);
  this->either.poison();
  this->changed.notify_one();
}
#endif

}  // namespace
