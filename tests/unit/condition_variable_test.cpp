// std::condition_variable_any with a ReentrantLock and with a Lockable, between threads.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "unit/either_lock.hpp"

using support::As;
using support::Party;

namespace {

template <class Lock>
class ConditionVariable : public testing::Test {
 protected:
  void wait_until_asleep(const Party& waiter) const {
    while (!is_held) std::this_thread::yield();
    waiter.wait_until_asleep();
  }

  Either<Lock> either;
  heirlock::ReentrantLock& mutex = *either.mutex;
  std::atomic<bool> is_held{false};
  std::atomic<bool> is_set{false};
  std::condition_variable_any changed;
};
TYPED_TEST_SUITE(ConditionVariable, EitherLock);

// Spec: lock.condition
TYPED_TEST(ConditionVariable, gives_back_a_lock_held_once_while_it_waits) {
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
