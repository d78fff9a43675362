// Acquire, re-enter and release: what each comes to, and what n of them need.
#include "heirlock/reentrant_lock.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <system_error>
#include <vector>

#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"
#include "support/refusal.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::ReentrantLock;
using support::As;
using support::BetweenParties;
using support::bytes_of;
using support::fields_of;
using support::Gate;
using support::InSharedMemory;
using support::LockBytes;
using support::my_tid;
using support::Party;
using support::word_of;

namespace {

INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

using Acquire = std::function<AcquireResult(ReentrantLock&)>;

// Every form there is.
std::vector<Acquire> acquires() {
  using std::chrono::hours;
  using std::chrono::steady_clock;
  return {
      [](ReentrantLock& lock) { return lock.acquire(); },
      [](ReentrantLock& lock) { return lock.try_acquire(); },
      [](ReentrantLock& lock) { return lock.acquire_for(hours(1)); },
      [](ReentrantLock& lock) { return lock.acquire_for(hours(-1)); },
      [](ReentrantLock& lock) { return lock.acquire_until(steady_clock::now() + hours(1)); },
      [](ReentrantLock& lock) { return lock.acquire_until(steady_clock::now() - hours(1)); },
  };
}

// --- Free ---

// Spec: lock.acquire.free
TEST_P(BetweenParties, acquiring_a_free_lock_in_any_form_returns_acquired) {
  other([&] {
    for (const Acquire& acquire : acquires()) {
      EXPECT_EQ(acquire(*lock), AcquireResult::acquired);
      lock->release();
    }
  }).join();
}

// Spec: lock.acquire.free
TEST_P(BetweenParties, acquiring_a_free_lock_in_any_form_makes_the_caller_its_owner) {
  other([&] {
    for (const Acquire& acquire : acquires()) {
      static_cast<void>(acquire(*lock));
      EXPECT_TRUE(lock->is_owned());
      EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
      lock->release();
    }
  }).join();
}

// Spec: lock.acquire.free
TEST_P(BetweenParties, a_lock_that_others_have_used_is_free_again) {
  for (int round = 0; round < 10; ++round) {
    other([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      lock->release();
    }).join();
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  }
}

// Spec: lock.try.free
TEST_P(BetweenParties, trying_a_free_lock_never_fails) {
  // Nor right after another's release: whoever passes the gate finds it free.
  Gate mine, theirs;
  constexpr int rounds = 2000;
  Party second = other([&] {
    for (int round = 0; round < rounds; ++round) {
      theirs.wait();
      EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
      lock->release();
      mine.open();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
    lock->release();
    theirs.open();
    mine.wait();
  }
}

// Spec: lock.try.free
TEST_P(BetweenParties, trying_a_free_lock_that_remembers_waiters_does_not_fail) {
  support::set_word(*lock, heirlock::detail::waiters_bit);
  other([&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
    lock->release();
  }).join();
}

// --- Busy ---

// Spec: lock.try.busy
TEST_P(BetweenParties, trying_a_busy_lock_returns_not_acquired) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  other([&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
  lock->release();
}

// Spec: lock.try.busy
TEST_P(BetweenParties, trying_a_busy_lock_does_not_wait) {
  // A waiter marks the word before it sleeps.
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  other([&] { static_cast<void>(lock->try_acquire()); }).join();
  EXPECT_EQ(word_of(*lock), my_tid());
  lock->release();
}

// Spec: lock.try.busy
TEST_P(BetweenParties, trying_a_busy_lock_in_vain_leaves_the_lock_as_it_was) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  const LockBytes before = bytes_of(*lock);
  other([&] {
    static_cast<void>(lock->try_acquire());
    EXPECT_FALSE(lock->is_owned());
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  lock->release();
}

// Spec: lock.acquire.blocking
TEST_P(BetweenParties, a_sleeping_waiter_gets_the_lock_when_it_is_released) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_TRUE(lock->is_owned());
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
  waiter.join();
}

// Spec: lock.acquire.blocking
TEST_P(BetweenParties, a_waiter_does_not_return_before_the_release) {
  InSharedMemory<std::atomic<bool>> released;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party waiter = other([&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_TRUE(*released);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  *released = true;
  lock->release();
}

// --- Re-entry ---

// Spec: lock.reentry.result
TEST_P(BetweenParties, the_owner_re_enters_by_every_form_of_acquire) {
  other([&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    for (const Acquire& acquire : acquires()) {
      EXPECT_EQ(acquire(*lock), AcquireResult::reentered);
      lock->release();
    }
    lock->release();
  }).join();
}

// Spec: lock.reentry.result
TEST_P(BetweenParties, the_owner_re_enters_though_others_wait) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
  lock->release();
  lock->release();
}

// Spec: lock.reentry.depth
TEST_P(BetweenParties, n_acquires_need_n_releases) {
  constexpr int n = 5;
  for (int i = 0; i < n; ++i) static_cast<void>(lock->acquire());
  for (int i = 1; i < n; ++i) {
    lock->release();
    other([&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
  }
  lock->release();
  other([&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
    lock->release();
  }).join();
}

// Spec: lock.reentry.depth
TEST_P(BetweenParties, a_waiter_gets_the_lock_after_the_last_release_and_not_before) {
  InSharedMemory<std::atomic<int>> releases;
  for (int i = 0; i < 3; ++i) static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(*releases, 3);
    lock->release();
  });
  for (int i = 0; i < 3; ++i) {
    waiter.wait_until_asleep_on(&*lock);
    ++*releases;
    lock->release();
  }
}

// Spec: lock.reentry.depth
TEST_P(BetweenParties, every_form_of_acquire_counts_one_and_every_release_one) {
  other([&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    std::uint32_t depth = 1;
    for (const Acquire& acquire : acquires()) {
      static_cast<void>(acquire(*lock));
      EXPECT_EQ(lock->depth(), ++depth);
    }
    while (depth > 0) {
      lock->release();
      EXPECT_EQ(lock->depth(), --depth);
    }
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

// Spec: lock.reentry.depth
TEST_P(BetweenParties, the_count_of_one_owner_does_not_reach_the_next) {
  for (int i = 0; i < 3; ++i) static_cast<void>(lock->acquire());
  for (int i = 0; i < 3; ++i) lock->release();
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(lock->depth(), 1U);
    lock->release();
    EXPECT_FALSE(lock->is_owned());
  }).join();
}

constexpr std::uint32_t deepest = 0xffffffff;

// Nobody can acquire 2^32-1 times in a test: the field is set instead.
class AtTheDepthLimit : public testing::Test {
 protected:
  AtTheDepthLimit() {
    static_cast<void>(lock.acquire());
    fields_of(lock).depth.store(deepest);
  }
  ~AtTheDepthLimit() override {
    fields_of(lock).depth.store(1);
    lock.release();
  }
  ReentrantLock lock;
};

// Spec: lock.reentry.limit
TEST_F(AtTheDepthLimit, every_form_of_acquire_throws) {
  for (const Acquire& acquire : acquires())
    EXPECT_EQ(support::refusal_of([&] { static_cast<void>(acquire(lock)); }).code,
              heirlock::errc::recursion_too_deep);
}

// Spec: lock.reentry.limit
TEST_F(AtTheDepthLimit, an_acquire_leaves_the_depth_as_it_is) {
  for (const Acquire& acquire : acquires()) {
    EXPECT_THROW(static_cast<void>(acquire(lock)), std::system_error);
    EXPECT_EQ(lock.depth(), deepest);
  }
}

// Spec: lock.error.unchanged
TEST_F(AtTheDepthLimit, an_acquire_changes_not_a_byte) {
  const LockBytes before = bytes_of(lock);
  for (const Acquire& acquire : acquires()) {
    EXPECT_THROW(static_cast<void>(acquire(lock)), std::system_error);
    EXPECT_EQ(bytes_of(lock), before);
  }
}

// Spec: lock.reentry.limit
TEST_F(AtTheDepthLimit, after_one_release_the_owner_can_acquire_once_more) {
  lock.release();
  EXPECT_EQ(lock.depth(), deepest - 1);
  EXPECT_EQ(lock.acquire(), AcquireResult::reentered);
  EXPECT_EQ(lock.depth(), deepest);
}

// --- Release by whom it does not behove ---

// Spec: lock.release.owner-only
TEST_P(BetweenParties, a_release_by_a_stranger_throws) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  other([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
  lock->release();
}

// Spec: lock.release.owner-only, lock.error.unchanged
TEST_P(BetweenParties, a_release_by_a_stranger_changes_not_a_byte) {
  for (int i = 0; i < 3; ++i) static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  other([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  EXPECT_EQ(lock->depth(), 3U);
  for (int i = 0; i < 3; ++i) lock->release();
}

// Spec: lock.release.owner-only
TEST_P(BetweenParties, a_former_owner_is_a_stranger) {
  Gate released, taken, tried;
  Party former = other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
    released.open();
    taken.wait();
    EXPECT_THROW(lock->release(), AssertionError);
    tried.open();
  });
  released.wait();
  static_cast<void>(lock->acquire());
  taken.open();
  tried.wait();
  EXPECT_EQ(lock->depth(), 1U);
  lock->release();
}

// Spec: lock.error.unchanged
TEST_P(BetweenParties, a_release_by_a_stranger_leaves_the_sleepers_asleep_and_remembered) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  const std::uint32_t before = word_of(*lock);
  other([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
  EXPECT_EQ(word_of(*lock), before);
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
}

// Spec: lock.release.owner-only
TEST_P(BetweenParties, a_release_of_a_free_lock_throws) {
  other([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
}

// Spec: lock.release.owner-only, lock.error.unchanged
TEST_P(BetweenParties, a_release_of_a_free_lock_changes_not_a_byte) {
  using heirlock::detail::owner_died_bit;
  using heirlock::detail::waiters_bit;
  for (const std::uint32_t free : {0U, waiters_bit, owner_died_bit, owner_died_bit | waiters_bit}) {
    support::set_word(*lock, free);
    const LockBytes before = bytes_of(*lock);
    other([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
    EXPECT_EQ(bytes_of(*lock), before);
  }
}

// Spec: lock.release.owner-only
TEST_P(BetweenParties, a_release_too_many_throws) {
  other([&] {
    for (int i = 0; i < 3; ++i) static_cast<void>(lock->acquire());
    for (int i = 0; i < 3; ++i) EXPECT_NO_THROW(lock->release());
    EXPECT_THROW(lock->release(), AssertionError);
  }).join();
}

// Spec: lock.release.owner-only, lock.error.unchanged
TEST_P(BetweenParties, a_release_too_many_changes_not_a_byte) {
  other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
    const LockBytes before = bytes_of(*lock);
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_EQ(bytes_of(*lock), before);
  }).join();
}

// Spec: lock.release.owner-only
TEST_P(BetweenParties, after_a_release_too_many_the_lock_works_on) {
  other([&] {
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(lock->depth(), 1U);
    lock->release();
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

}  // namespace
