// What only C++ can be asked of a ReentrantLock: every form of acquire, every byte of the lock, and what the
// compiler knows. What operations come to, one after the other, tests/conformance/vectors says.
#include "heirlock/reentrant_lock.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"
#include "support/refusal.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::ReentrantLock;
using heirlock::detail::LinuxLock;
using heirlock::detail::owner_died_bit;
using heirlock::detail::waiters_bit;
using support::BetweenParties;
using support::bytes_of;
using support::fields_of;
using support::InSharedMemory;
using support::LockBytes;
using support::my_tid;
using support::set_word;
using support::SharedLock;
using support::word_of;

namespace {

// For all of this program.
INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

using Acquire = std::function<AcquireResult(ReentrantLock&)>;

std::vector<Acquire> each_form_of_acquire() {
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

// --- Each form of acquire ---

// Spec: lock.acquire.free, lock.timeout.nonpositive, lock.owner.query
TEST_P(BetweenParties, each_form_of_acquire_takes_a_free_lock) {
  other([&] {
    for (const Acquire& acquire : each_form_of_acquire()) {
      EXPECT_EQ(acquire(*lock), AcquireResult::acquired);
      EXPECT_TRUE(lock->is_owned());
      EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
      lock->release();
    }
  }).join();
}

// Spec: lock.reentry.result, lock.reentry.depth, lock.owner.query
TEST_P(BetweenParties, each_form_of_acquire_reenters_and_counts_one) {
  other([&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    std::uint32_t depth = 1;
    for (const Acquire& acquire : each_form_of_acquire()) {
      EXPECT_EQ(acquire(*lock), AcquireResult::reentered);
      EXPECT_EQ(lock->depth(), ++depth);
    }
    while (depth > 0) {
      lock->release();
      EXPECT_EQ(lock->depth(), --depth);
    }
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

// Spec: lock.inherit.flag
TEST_P(BetweenParties, each_form_of_acquire_inherits) {
  set_word(*lock, owner_died_bit);  // as the kernel leaves it at its owner's death
  other([&] {
    for (const Acquire& acquire : each_form_of_acquire()) {
      EXPECT_EQ(acquire(*lock), AcquireResult::inherited);
      lock->release();
    }
  }).join();
}

// Nobody can acquire 2^32-1 times in a test: the field is set instead.
// Spec: lock.reentry.limit, lock.error.unchanged
TEST(DepthLimit, makes_each_acquire_throw_and_change_nothing) {
  constexpr std::uint32_t deepest = 0xffffffff;
  ReentrantLock lock;
  static_cast<void>(lock.acquire());
  fields_of(lock).depth.store(deepest);
  const LockBytes before = bytes_of(lock);
  for (const Acquire& acquire : each_form_of_acquire()) {
    EXPECT_EQ(support::refusal_of([&] { static_cast<void>(acquire(lock)); }).code,
              heirlock::errc::recursion_too_deep);
    EXPECT_EQ(bytes_of(lock), before);
  }
  lock.release();
  EXPECT_EQ(lock.acquire(), AcquireResult::reentered);
  fields_of(lock).depth.store(1);
  lock.release();
}

// --- Each byte of the lock ---

// A waiter would mark the word before it sleeps.
// Spec: lock.try.busy
TEST_P(BetweenParties, a_try_in_vain_changes_no_byte) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  const LockBytes before = bytes_of(*lock);
  other([&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_FALSE(lock->is_owned());
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  lock->release();
}

// Spec: lock.release.owner-only, lock.inherit.repaired-owner-only, lock.error.unchanged
TEST_P(BetweenParties, a_stranger_changes_no_byte) {
  set_word(*lock, owner_died_bit | waiters_bit);
  for (int i = 0; i < 3; ++i) static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  other([&] {
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_THROW(lock->repaired(), AssertionError);
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  for (int i = 0; i < 3; ++i) lock->release();
}

// Spec: lock.release.owner-only, lock.inherit.repaired-owner-only, lock.error.unchanged
TEST_P(BetweenParties, a_wrong_call_changes_no_free_lock) {
  for (const std::uint32_t free : {0U, waiters_bit, owner_died_bit, owner_died_bit | waiters_bit}) {
    set_word(*lock, free);
    const LockBytes before = bytes_of(*lock);
    other([&] {
      EXPECT_THROW(lock->release(), AssertionError);
      EXPECT_THROW(lock->repaired(), AssertionError);
    }).join();
    EXPECT_EQ(bytes_of(*lock), before);
  }
}

// What the compiler can see it shall see.
// Spec: lock.memory.layout, lock.memory.node, version.layout
static_assert(sizeof(ReentrantLock) == 40 && alignof(ReentrantLock) == 8);
static_assert(offsetof(LinuxLock, word) == 0 && sizeof(LinuxLock::word) == 4);
static_assert(offsetof(LinuxLock, depth) == 4 && sizeof(LinuxLock::depth) == 4);
static_assert(offsetof(LinuxLock, pid_namespace) == 8 && sizeof(LinuxLock::pid_namespace) == 4);
static_assert(offsetof(LinuxLock, reserved) == 12 && sizeof(LinuxLock::reserved) == 4);
static_assert(offsetof(LinuxLock, owner_id) == 16 && sizeof(LinuxLock::owner_id) == 8);
static_assert(offsetof(LinuxLock, prev) == 24 && sizeof(LinuxLock::prev) == 8);
static_assert(offsetof(LinuxLock, next) == 32 && sizeof(LinuxLock::next) == 8);
static_assert(std::is_standard_layout_v<ReentrantLock>);
static_assert(std::is_trivially_destructible_v<ReentrantLock>);
static_assert(std::is_nothrow_default_constructible_v<ReentrantLock>);
static_assert(!std::is_copy_constructible_v<ReentrantLock> && !std::is_copy_assignable_v<ReentrantLock>);
static_assert(!std::is_move_constructible_v<ReentrantLock> && !std::is_move_assignable_v<ReentrantLock>);

// Usable before any constructor of the program runs.
[[maybe_unused]] constexpr ReentrantLock made_by_the_compiler{};

// Spec: lock.memory.zero
TEST(LockInMemory, is_all_zero_when_new) {
  EXPECT_EQ(bytes_of(ReentrantLock()), LockBytes{});
}

// --- Who is the owner ---

// Spec: lock.owner.query
TEST_P(BetweenParties, only_the_owner_is_told_so) {
  InSharedMemory<ReentrantLock> another;
  EXPECT_FALSE(lock->is_owned());
  static_cast<void>(lock->acquire());
  static_cast<void>(lock->acquire());
  EXPECT_TRUE(lock->is_owned());
  EXPECT_FALSE(another->is_owned());
  EXPECT_THROW(another->release(), AssertionError);
  const auto owner = static_cast<pid_t>(my_tid());
  other([&] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0U);
    EXPECT_EQ(lock->owner(), owner);
  }).join();
  lock->release();
  lock->release();
}

// Spec: protocol.inv-id, lock.owner.thread-id-reuse
TEST(OwnerId, is_the_threads_for_all_its_locks) {
  ReentrantLock one, two;
  std::vector<std::uint64_t> ids;
  const auto id_in = [](ReentrantLock& lock) {
    return fields_of(lock).owner_id.load(heirlock::detail::Order::relaxed);
  };
  for (int i = 0; i < 100; ++i)
    std::thread([&] {
      static_cast<void>(one.acquire());
      static_cast<void>(two.acquire());
      EXPECT_EQ(id_in(one), id_in(two));
      ids.push_back(id_in(one));
      one.release();
      two.release();
    }).join();
  std::sort(ids.begin(), ids.end());
  EXPECT_NE(ids.front(), 0U);
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

// The word names the calling thread, with the id of an earlier thread of that tid: the kernel's walk missed
// the earlier one's death.
// Spec: lock.owner.thread-id-reuse, lock.error.unchanged, lock.inherit.depth, lock.acquire.progress
TEST(LeftByAnotherThreadOfMyTid, is_not_mine_and_i_inherit_it) {
  for (const auto acquire : {&ReentrantLock::acquire, &ReentrantLock::try_acquire}) {
    SharedLock lock;
    static_cast<void>(lock->acquire());  // so that the thread is no stranger to the library
    lock->release();
    set_word(*lock, my_tid());
    fields_of(*lock).owner_id.store(0x1234567890abcdef, heirlock::detail::Order::relaxed);
    fields_of(*lock).depth.store(3);
    support::Waiter sleeper(*lock);

    const LockBytes before = bytes_of(*lock);
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0U);
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_THROW(lock->repaired(), AssertionError);
    EXPECT_EQ(bytes_of(*lock), before);

    EXPECT_EQ(((*lock).*acquire)(), AcquireResult::inherited);
    EXPECT_EQ(lock->depth(), 1U);
    EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit | waiters_bit);
    lock->release();
    EXPECT_EQ(sleeper.result(), AcquireResult::inherited);
  }
}

// --- Waking nobody ---

// A release that found nobody asleep makes the next one of the same lock, and of no other, drop the mark.
// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_quiet_lock_says_nothing_of_another) {
  InSharedMemory<ReentrantLock> another;
  set_word(*lock, waiters_bit);
  set_word(*another, waiters_bit);
  const auto acquire_and_release = [](ReentrantLock& one) {
    static_cast<void>(one.acquire());
    one.release();
  };
  other([&] {
    acquire_and_release(*lock);
    EXPECT_EQ(word_of(*lock), waiters_bit);
    acquire_and_release(*another);
    EXPECT_EQ(word_of(*another), waiters_bit);
    acquire_and_release(*lock);
    EXPECT_EQ(word_of(*lock), 0U);
  }).join();
}

}  // namespace
