// The lock in memory: every row of the word's table, and how each step of the protocol leads to it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::ReentrantLock;
using heirlock::detail::LinuxLock;
using heirlock::detail::owner_died_bit;
using heirlock::detail::waiters_bit;
using support::As;
using support::BetweenParties;
using support::bytes_of;
using support::fields_of;
using support::Gate;
using support::InSharedMemory;
using support::LockBytes;
using support::my_tid;
using support::Party;
using support::set_word;
using support::word_of;

namespace {

INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

// --- Layout ---

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
ReentrantLock of_the_whole_program;

// Spec: lock.memory.zero
TEST(LockInMemory, a_new_lock_is_all_zero) {
  const ReentrantLock lock;
  EXPECT_EQ(bytes_of(lock), LockBytes{});
}

// Spec: lock.memory.zero
TEST(LockInMemory, zeroed_memory_is_a_free_lock) {
  alignas(ReentrantLock) unsigned char memory[sizeof(ReentrantLock)];
  std::memset(memory, 0xff, sizeof memory);
  std::memset(memory, 0, sizeof memory);
  auto& lock = *std::launder(reinterpret_cast<ReentrantLock*>(memory));
  EXPECT_EQ(lock.owner(), 0);
  EXPECT_FALSE(lock.needs_repair());
  EXPECT_EQ(lock.acquire(), AcquireResult::acquired);
  lock.release();
}

// Spec: lock.memory.zero
TEST_P(BetweenParties, a_fresh_page_holds_a_lock_that_excludes) {
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto& fresh = *static_cast<ReentrantLock*>(page);
  EXPECT_EQ(fresh.acquire(), AcquireResult::acquired);
  other([&] { EXPECT_EQ(fresh.try_acquire(), AcquireResult::not_acquired); }).join();
  fresh.release();
  munmap(page, 4096);
}

// Spec: lock.memory.layout, version.layout
TEST(LockInMemory, the_word_of_a_held_lock_is_its_owners_tid) {
  ReentrantLock lock;
  static_cast<void>(lock.acquire());
  std::uint32_t word = 0;
  std::memcpy(&word, &lock, sizeof word);
  EXPECT_EQ(word, my_tid());
  lock.release();
}

// Spec: lock.memory.layout, version.layout
TEST(LockInMemory, the_depth_lies_behind_the_word) {
  ReentrantLock lock;
  for (int i = 0; i < 3; ++i) static_cast<void>(lock.acquire());
  std::uint32_t depth = 0;
  std::memcpy(&depth, bytes_of(lock).data() + 4, sizeof depth);
  EXPECT_EQ(depth, 3U);
  for (int i = 0; i < 3; ++i) lock.release();
}

// Spec: lock.memory.layout, version.layout
TEST(LockInMemory, nobody_writes_the_reserved_bytes) {
  ReentrantLock lock;
  static_cast<void>(lock.acquire());
  EXPECT_EQ(fields_of(lock).reserved, 0U);
  lock.release();
  EXPECT_EQ(fields_of(lock).reserved, 0U);
}

// Spec: protocol.inv-id
TEST(LockInMemory, a_thread_has_one_random_id_for_all_locks) {
  ReentrantLock one, two;
  static_cast<void>(one.acquire());
  static_cast<void>(two.acquire());
  const auto id = fields_of(one).owner_id.load(heirlock::detail::Order::relaxed);
  EXPECT_NE(id, 0U);
  EXPECT_EQ(fields_of(two).owner_id.load(heirlock::detail::Order::relaxed), id);
  one.release();
  two.release();
}

// Spec: lock.memory.zero
TEST(LockInMemory, a_lock_of_static_storage_works) {
  EXPECT_EQ(of_the_whole_program.acquire(), AcquireResult::acquired);
  of_the_whole_program.release();
}

// --- The word without waiters ---

// Spec: lock.memory.layout
TEST_P(BetweenParties, the_word_goes_from_free_to_the_tid_and_back) {
  other([&] {
    EXPECT_EQ(word_of(*lock), 0U);
    static_cast<void>(lock->acquire());
    EXPECT_EQ(word_of(*lock), my_tid());
    static_cast<void>(lock->acquire());
    EXPECT_EQ(word_of(*lock), my_tid());
    lock->release();
    EXPECT_EQ(word_of(*lock), my_tid());
    lock->release();
    EXPECT_EQ(word_of(*lock), 0U);
  }).join();
}

// --- The word with waiters ---

// A waiter that gave up has left its mark, and nobody sleeps. The caller holds the lock.
void leave_a_mark(ReentrantLock& lock, As as) {
  Party(as, [&] {
    do {
      EXPECT_EQ(lock.acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
    } while ((word_of(lock) & waiters_bit) == 0);  // its time may be over before it comes to sleep
  }).join();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_waiter_marks_the_word_before_it_sleeps) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
  lock->release();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_sleeper_that_is_handed_the_lock_keeps_the_mark_for_those_who_still_sleep) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
}

// Spec: lock.acquire.progress
TEST(WordBetweenProcesses, a_release_keeps_the_mark_while_the_sleeper_it_is_for_cannot_run) {
  // A stopped process: a signal has taken it out of its sleep, so nobody else takes the lock meanwhile.
  InSharedMemory<ReentrantLock> lock;
  support::forget_quiet_locks();
  static_cast<void>(lock->acquire());
  Party waiter(As::process, [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  waiter.signal(SIGSTOP);
  lock->release();
  EXPECT_EQ(word_of(*lock), waiters_bit);
  waiter.signal(SIGCONT);
  waiter.join();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_contended_release_keeps_the_mark) {
  other([&] {
    static_cast<void>(lock->acquire());
    leave_a_mark(*lock, GetParam());
    EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
    lock->release();
    EXPECT_EQ(word_of(*lock), waiters_bit);
  }).join();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, taking_a_free_lock_keeps_the_mark) {
  set_word(*lock, waiters_bit);
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
    lock->release();
  }).join();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_second_release_that_finds_nobody_asleep_drops_the_mark) {
  set_word(*lock, waiters_bit);
  other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
    EXPECT_EQ(word_of(*lock), waiters_bit);
    static_cast<void>(lock->acquire());
    lock->release();
    EXPECT_EQ(word_of(*lock), 0U);
  }).join();
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, that_one_lock_is_quiet_says_nothing_of_another) {
  InSharedMemory<ReentrantLock> another;
  set_word(*lock, waiters_bit);
  set_word(*another, waiters_bit);
  other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
    static_cast<void>(another->acquire());
    another->release();
    EXPECT_EQ(word_of(*another), waiters_bit);
  }).join();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, the_mark_is_no_part_of_the_owner) {
  static_cast<void>(lock->acquire());
  leave_a_mark(*lock, GetParam());
  EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
  EXPECT_TRUE(lock->is_owned());
  lock->release();
  EXPECT_EQ(lock->owner(), 0);
  EXPECT_FALSE(lock->is_owned());
}

// Spec: lock.timeout.ends
TEST_P(BetweenParties, a_waiter_that_gives_up_leaves_nothing_but_its_mark) {
  static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  leave_a_mark(*lock, GetParam());
  EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
  set_word(*lock, my_tid());
  EXPECT_EQ(bytes_of(*lock), before);
  lock->release();
}

// --- The flag: somebody died here, or released unrepaired ---

// A lock as the kernel leaves it at its owner's death.
class ToBeInherited : public BetweenParties {
 protected:
  ToBeInherited() { set_word(*lock, owner_died_bit); }
};
INSTANTIATE_TEST_SUITE_P(As, ToBeInherited, support::each_kind_of_party, support::kind_name);

// Spec: lock.inherit.flag
TEST_P(ToBeInherited, every_form_of_acquire_inherits) {
  using std::chrono::milliseconds;
  other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
    lock->release();
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
    lock->release();
    EXPECT_EQ(lock->acquire_for(milliseconds(1)), AcquireResult::inherited);
    lock->release();
    EXPECT_EQ(lock->acquire_until(std::chrono::steady_clock::now() + milliseconds(1)),
              AcquireResult::inherited);
    lock->release();
  }).join();
}

// Spec: lock.inherit.flag
TEST_P(ToBeInherited, the_flag_is_in_the_word_of_the_heir_and_in_the_free_word_it_leaves) {
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit);
    lock->release();
    EXPECT_EQ(word_of(*lock), owner_died_bit);
  }).join();
}

// Spec: lock.inherit.flag
TEST_P(ToBeInherited, an_heir_that_does_not_repair_passes_the_flag_on) {
  for (int heir = 0; heir < 3; ++heir)
    other([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
      lock->release();
    }).join();
  EXPECT_TRUE(lock->needs_repair());
}

// Spec: lock.inherit.flag
TEST_P(ToBeInherited, a_sleeper_behind_the_heir_inherits_in_its_turn) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
    EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit | waiters_bit);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit | waiters_bit);
  lock->release();
}

// Spec: lock.inherit.flag, lock.acquire.progress
TEST_P(ToBeInherited, every_contended_release_keeps_the_flag_and_the_mark) {
  set_word(*lock, owner_died_bit | waiters_bit);
  other([&] {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
      EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit | waiters_bit);
      lock->release();
      EXPECT_EQ(word_of(*lock), owner_died_bit | waiters_bit);
    }
  }).join();
}

// Spec: lock.inherit.flag
TEST_P(ToBeInherited, the_heir_re_enters_as_any_owner) {
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
    lock->release();
    EXPECT_TRUE(lock->is_owned());
    lock->release();
  }).join();
}

// Spec: lock.inherit.depth
TEST_P(ToBeInherited, the_heir_starts_at_depth_1) {
  fields_of(*lock).depth.store(17);
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(lock->depth(), 1U);
    lock->release();
  }).join();
}

// Spec: lock.inherit.flag, lock.owner.query
TEST_P(ToBeInherited, needs_repair_is_true_for_everybody_until_the_repair) {
  EXPECT_TRUE(lock->needs_repair());
  static_cast<void>(lock->acquire());
  other([&] { EXPECT_TRUE(lock->needs_repair()); }).join();
  lock->repaired();
  other([&] { EXPECT_FALSE(lock->needs_repair()); }).join();
  lock->release();
  EXPECT_FALSE(lock->needs_repair());
}

// Spec: lock.inherit.repaired
TEST_P(ToBeInherited, after_the_repair_the_next_owner_acquires) {
  static_cast<void>(lock->acquire());
  lock->repaired();
  EXPECT_EQ(word_of(*lock), my_tid());
  lock->release();
  EXPECT_EQ(word_of(*lock), 0U);
  other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  }).join();
}

// Spec: lock.inherit.repaired
TEST_P(ToBeInherited, a_repair_does_not_change_the_depth) {
  other([&] {
    static_cast<void>(lock->acquire());
    static_cast<void>(lock->acquire());
    lock->repaired();
    EXPECT_EQ(lock->depth(), 2U);
    lock->release();
    lock->release();
  }).join();
}

// Spec: lock.inherit.repaired, lock.acquire.progress
TEST_P(ToBeInherited, a_repair_keeps_the_mark_of_the_sleepers) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  lock->repaired();
  EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
  lock->release();
}

// Spec: lock.inherit.repaired
TEST_P(BetweenParties, a_repair_of_what_is_whole_changes_not_a_byte) {
  other([&] {
    static_cast<void>(lock->acquire());
    const LockBytes before = bytes_of(*lock);
    lock->repaired();
    EXPECT_EQ(bytes_of(*lock), before);
    lock->release();
  }).join();
}

// Spec: lock.inherit.repaired-owner-only, lock.error.unchanged
TEST_P(ToBeInherited, a_repair_by_a_stranger_throws_and_changes_not_a_byte) {
  static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  other([&] { EXPECT_THROW(lock->repaired(), AssertionError); }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  lock->release();
}

// Spec: lock.inherit.repaired-owner-only, lock.error.unchanged
TEST_P(ToBeInherited, a_repair_of_a_lock_that_nobody_holds_throws_and_changes_not_a_byte) {
  const LockBytes before = bytes_of(*lock);
  other([&] { EXPECT_THROW(lock->repaired(), AssertionError); }).join();
  EXPECT_EQ(bytes_of(*lock), before);
}

// --- A dead owner's tid that has come to another thread ---

// The word names the calling thread, with the id of an earlier thread of that tid: the kernel's walk missed
// the earlier one's death.
class LeftByAnotherThreadOfMyTid : public testing::Test {
 protected:
  LeftByAnotherThreadOfMyTid() {
    set_word(lock, my_tid());
    fields_of(lock).owner_id.store(4711, heirlock::detail::Order::relaxed);
    fields_of(lock).depth.store(3);
    ReentrantLock any;  // so that the thread is no stranger to the library
    static_cast<void>(any.acquire());
    any.release();
  }
  ReentrantLock lock;
};

// Spec: lock.owner.thread-id-reuse
TEST_F(LeftByAnotherThreadOfMyTid, the_lock_is_not_mine) {
  EXPECT_FALSE(lock.is_owned());
  EXPECT_EQ(lock.depth(), 0U);
}

// Spec: lock.owner.thread-id-reuse, lock.error.unchanged
TEST_F(LeftByAnotherThreadOfMyTid, i_cannot_release_it) {
  const LockBytes before = bytes_of(lock);
  EXPECT_THROW(lock.release(), AssertionError);
  EXPECT_EQ(bytes_of(lock), before);
}

// Spec: lock.owner.thread-id-reuse
TEST_F(LeftByAnotherThreadOfMyTid, i_cannot_declare_it_repaired) {
  EXPECT_THROW(lock.repaired(), AssertionError);
}

// Spec: lock.owner.thread-id-reuse, lock.inherit.depth
TEST_F(LeftByAnotherThreadOfMyTid, i_inherit_it_at_depth_1) {
  EXPECT_EQ(lock.acquire(), AcquireResult::inherited);
  EXPECT_EQ(lock.depth(), 1U);
  lock.release();
}

// Spec: lock.owner.thread-id-reuse
TEST_F(LeftByAnotherThreadOfMyTid, i_inherit_it_by_trying) {
  EXPECT_EQ(lock.try_acquire(), AcquireResult::inherited);
  lock.release();
}

// Spec: lock.owner.thread-id-reuse, lock.acquire.progress
TEST_F(LeftByAnotherThreadOfMyTid, i_keep_the_mark_of_its_sleepers) {
  set_word(lock, my_tid() | waiters_bit);
  EXPECT_EQ(lock.acquire(), AcquireResult::inherited);
  EXPECT_EQ(word_of(lock), my_tid() | owner_died_bit | waiters_bit);
  lock.release();
}

}  // namespace
