// Who is the owner: what it is told, what others are told, and that a new thread or child is nobody's heir by
// mistake.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

#include "heirlock/reentrant_lock.hpp"
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

// --- Queries ---

// Spec: lock.owner.query
TEST_P(BetweenParties, nobody_owns_a_free_lock) {
  other([&] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0U);
    EXPECT_EQ(lock->owner(), 0);
  }).join();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, the_owner_knows_that_it_owns_the_lock) {
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_TRUE(lock->is_owned());
    lock->release();
  }).join();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, the_owner_knows_what_it_owes) {
  other([&] {
    for (std::uint32_t n = 1; n <= 4; ++n) {
      static_cast<void>(lock->acquire());
      EXPECT_EQ(lock->depth(), n);
    }
    for (std::uint32_t n = 4; n-- > 0;) {
      lock->release();
      EXPECT_EQ(lock->depth(), n);
    }
  }).join();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, to_others_the_owners_lock_is_not_theirs_and_of_depth_0) {
  static_cast<void>(lock->acquire());
  static_cast<void>(lock->acquire());
  other([&] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0U);
  }).join();
  lock->release();
  lock->release();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, everybody_sees_the_owners_tid) {
  Gate taken, seen;
  Party owner = other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
    taken.open();
    seen.wait();
    lock->release();
  });
  taken.wait();
  EXPECT_EQ(lock->owner(), owner.tid());
  seen.open();
  owner.join();
  EXPECT_EQ(lock->owner(), 0);
}

// Spec: lock.owner.query
TEST_P(BetweenParties, owning_one_lock_is_not_owning_another) {
  InSharedMemory<ReentrantLock> another;
  other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_FALSE(another->is_owned());
    EXPECT_THROW(another->release(), AssertionError);
    lock->release();
  }).join();
}

// Spec: lock.owner.query
TEST_P(BetweenParties, locks_may_be_released_in_any_order) {
  InSharedMemory<ReentrantLock> two, three;
  other([&] {
    ReentrantLock* const locks[] = {&*lock, &*two, &*three};
    const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (const auto& order : orders) {
      for (ReentrantLock* each : locks) EXPECT_EQ(each->acquire(), AcquireResult::acquired);
      for (const int which : order) {
        locks[which]->release();
        EXPECT_FALSE(locks[which]->is_owned());
      }
    }
  }).join();
}

// Spec: lock.owner.pid-namespace, lock.error.unchanged
TEST_P(BetweenParties, a_lock_of_another_pid_namespace_is_refused_and_not_a_byte_of_it_changed) {
  fields_of(*lock).pid_namespace.store(1, heirlock::detail::Order::relaxed);  // no namespace has this inode
  const LockBytes before = bytes_of(*lock);
  other([&] {
    EXPECT_EQ(support::refusal_of([&] { static_cast<void>(lock->acquire()); }).code,
              heirlock::errc::foreign_pid_namespace);
    EXPECT_FALSE(lock->is_owned());
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
}

// --- Children ---

// Spec: lock.owner.child
TEST(Child, it_does_not_own_what_its_parent_owns) {
  InSharedMemory<ReentrantLock> lock;
  static_cast<void>(lock->acquire());
  Party(As::process, [&] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0U);
    EXPECT_EQ(lock->owner(), getppid());
  }).join();
  lock->release();
}

// Spec: lock.owner.child
TEST(Child, it_takes_the_lock_after_its_parents_release_and_not_before) {
  InSharedMemory<ReentrantLock> lock;
  InSharedMemory<std::atomic<bool>> released;
  static_cast<void>(lock->acquire());
  Party child(As::process, [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_TRUE(*released);
    lock->release();
  });
  child.wait_until_asleep_on(&*lock);
  *released = true;
  lock->release();
}

// Spec: lock.owner.child
TEST(Child, its_end_takes_nothing_from_its_parent) {
  InSharedMemory<ReentrantLock> lock;
  static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  Party(As::process, [&] { EXPECT_FALSE(lock->is_owned()); }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  EXPECT_TRUE(lock->is_owned());
  lock->release();
}

// Spec: lock.owner.child
TEST(Child, its_end_takes_nothing_from_its_parent_though_it_used_another_lock) {
  InSharedMemory<ReentrantLock> lock, another;
  static_cast<void>(lock->acquire());
  const LockBytes before = bytes_of(*lock);
  Party(As::process, [&] {
    EXPECT_EQ(another->acquire(), AcquireResult::acquired);
    another->release();
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
  lock->release();
}

// Spec: lock.owner.child
TEST(Child, a_childs_child_owns_what_neither_parent_owns) {
  InSharedMemory<ReentrantLock> lock, another;
  static_cast<void>(lock->acquire());
  Party(As::process, [&] {
    static_cast<void>(another->acquire());
    Party(As::process, [&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_FALSE(another->is_owned());
      ReentrantLock own;
      EXPECT_EQ(own.acquire(), AcquireResult::acquired);
      EXPECT_EQ(own.owner(), getpid());
      own.release();
    }).join();
    EXPECT_TRUE(another->is_owned());
    another->release();
  }).join();
  lock->release();
}

// Spec: lock.owner.child
TEST(Child, a_child_of_a_thread_does_not_own_what_that_thread_owns) {
  InSharedMemory<ReentrantLock> lock;
  std::thread([&] {
    static_cast<void>(lock->acquire());
    Party(As::process, [&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
      EXPECT_THROW(lock->release(), AssertionError);
    }).join();
    lock->release();
  }).join();
}

// Spec: lock.owner.child, lock.owner.query
TEST(Child, a_thread_that_it_starts_is_an_owner_of_its_own) {
  InSharedMemory<ReentrantLock> lock;
  Party(As::process, [&] {
    static_cast<void>(lock->acquire());
    std::thread([&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    }).join();
    lock->release();
    std::thread([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
      lock->release();
    }).join();
  }).join();
}

// Spec: lock.owner.child
TEST(Child, many_children_in_turn_are_each_their_own) {
  InSharedMemory<ReentrantLock> lock;
  for (int i = 0; i < 30; ++i) {
    static_cast<void>(lock->acquire());
    Party child(As::process, [&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      EXPECT_EQ(lock->owner(), getpid());
      lock->release();
    });
    lock->release();
  }
}

// --- Threads ---

// Spec: lock.owner.query, lock.acquire.free
TEST(Threads, many_in_turn_are_each_an_owner_with_its_own_tid) {
  ReentrantLock lock;
  for (int i = 0; i < 500; ++i)
    std::thread([&] {
      EXPECT_FALSE(lock.is_owned());
      EXPECT_EQ(lock.acquire(), AcquireResult::acquired);
      EXPECT_EQ(lock.owner(), static_cast<pid_t>(my_tid()));
      lock.release();
    }).join();
}

// Spec: lock.owner.query
TEST(Threads, many_at_once_each_own_their_lock_and_no_other) {
  constexpr std::size_t many = 16;
  std::vector<ReentrantLock> locks(many);
  Gate owns, done;
  std::vector<std::thread> threads;
  for (std::size_t me = 0; me < many; ++me)
    threads.emplace_back([&, me] {
      static_cast<void>(locks[me].acquire());
      owns.open();
      done.wait();
      for (std::size_t i = 0; i < many; ++i) EXPECT_EQ(locks[i].is_owned(), i == me);
      locks[me].release();
    });
  for (std::size_t i = 0; i < many; ++i) owns.wait();
  done.open(many);
  for (std::thread& thread : threads) thread.join();
}

// Spec: lock.owner.query
TEST(Threads, the_tid_is_right_at_every_acquire) {
  ReentrantLock lock;
  for (int i = 0; i < 1000; ++i) {
    static_cast<void>(lock.acquire());
    ASSERT_EQ(word_of(lock), my_tid());
    lock.release();
  }
}

// Spec: lock.owner.thread-id-reuse
TEST(Threads, no_two_threads_share_a_random_id) {
  ReentrantLock lock;
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i)
    std::thread([&] {
      static_cast<void>(lock.acquire());
      ids.push_back(fields_of(lock).owner_id.load(heirlock::detail::Order::relaxed));
      lock.release();
    }).join();
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

}  // namespace
