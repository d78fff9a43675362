// A child owns nothing, however it was made: by fork, by _Fork, which runs no handlers, or by clone and
// clone3, of which libc knows nothing. And it can own like anybody else.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::ReentrantLock;
using support::As;
using support::Birth;
using support::Child;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

class AChildMadeBy : public testing::TestWithParam<Birth> {
 protected:
  void SetUp() override {
    if (!support::can_make_child(GetParam())) GTEST_SKIP() << "this system cannot make a child like that";
  }
  Child child(const std::function<void()>& body) const { return Child(GetParam(), body); }

  SharedLock lock;
};
const auto each_birth =
    testing::Values(Birth::fork, Birth::fork_without_handlers, Birth::clone, Birth::clone3);
INSTANTIATE_TEST_SUITE_P(Birth, AChildMadeBy, each_birth, testing::PrintToStringParamName());

// --- What the parent holds; the first of these are about the child's first use of a lock ---------------

// Spec: lock.owner.child, lock.release.owner-only
TEST_P(AChildMadeBy, is_refused_when_it_releases_what_its_parent_holds) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();
  EXPECT_TRUE(lock->is_owned());
}

// Spec: lock.owner.child, lock.owner.query
TEST_P(AChildMadeBy, sees_that_it_does_not_own_what_its_parent_holds) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] { EXPECT_FALSE(lock->is_owned()); }).join();
  EXPECT_TRUE(lock->is_owned());
}

// Spec: lock.owner.child, lock.owner.query
TEST_P(AChildMadeBy, has_no_depth_of_its_parents) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  ASSERT_EQ(lock->acquire(), AcquireResult::reentered);
  child([&] { EXPECT_EQ(lock->depth(), 0u); }).join();
  EXPECT_EQ(lock->depth(), 2u);
}

// Spec: lock.owner.child, lock.try.busy
TEST_P(AChildMadeBy, does_not_reenter_what_its_parent_holds) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
  EXPECT_EQ(lock->depth(), 1u);
}

// Spec: lock.owner.child, lock.acquire.blocking
TEST_P(AChildMadeBy, sleeps_until_its_parent_releases) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Child waiter = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  waiter.wait_until_asleep();
  EXPECT_TRUE(lock->is_owned());
  lock->release();
  waiter.join();
}

// Spec: lock.owner.child, lock.inherit.repaired-owner-only
TEST_P(AChildMadeBy, is_refused_when_it_calls_repaired_on_what_its_parent_inherited) {
  Party(As::process, [&] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired); }).join();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  child([&] { EXPECT_THROW(lock->repaired(), AssertionError); }).join();
  EXPECT_TRUE(lock->needs_repair());
}

// Spec: lock.owner.child
TEST_P(AChildMadeBy, leaves_its_parent_the_owner_when_it_dies) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
  EXPECT_TRUE(lock->is_owned());
  Party(As::process, [&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
}

// Spec: lock.owner.child
TEST_P(AChildMadeBy, does_not_own_what_it_shares_with_a_parent_that_released_and_acquired_again) {
  Gate parent_is_back;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Child other = child([&] {
    EXPECT_FALSE(lock->is_owned());
    parent_is_back.wait();
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_THROW(lock->release(), AssertionError);
  });
  lock->release();
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  parent_is_back.open();
  other.join();
}

// --- What the child holds ------------------------------------------------------------------------------

// Spec: lock.acquire.free, lock.reentry.depth
TEST_P(AChildMadeBy, acquires_reenters_and_releases_like_anybody) {
  child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
    lock->release();
    EXPECT_TRUE(lock->is_owned());
    lock->release();
    EXPECT_FALSE(lock->is_owned());
  }).join();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
}

// Spec: lock.inherit.death
TEST_P(AChildMadeBy, is_inherited_from_when_it_is_killed) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  lock->release();
  Gate holds;
  Child owner = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  holds.wait();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
  owner.kill();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.death, lock.acquire.blocking
TEST_P(AChildMadeBy, is_inherited_from_when_it_is_killed_with_what_it_got_from_its_parent) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Gate holds;
  Child owner = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  owner.wait_until_asleep();
  lock->release();
  holds.wait();
  owner.kill();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper
TEST_P(AChildMadeBy, lets_its_sleeping_parent_inherit_when_it_is_killed) {
  Gate holds;
  Child owner = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  holds.wait();
  Waiter waiter(*lock);
  owner.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.death
TEST_P(AChildMadeBy, leaves_all_of_several_locks_to_its_heirs) {
  support::SharedLocks<20> locks;
  child([&] {
    for (ReentrantLock& each : locks) EXPECT_EQ(each.acquire(), AcquireResult::acquired);
    locks[7].release();
    locks[0].release();
    locks[19].release();
  }).join();
  for (std::size_t i = 0; i < 20; ++i)
    EXPECT_EQ(locks[i].try_acquire(),
              i == 0 || i == 7 || i == 19 ? AcquireResult::acquired : AcquireResult::inherited)
        << "lock " << i;
}

// Spec: lock.acquire.exclusion
TEST_P(AChildMadeBy, is_another_owner_than_its_sibling) {
  Gate holds, may_end;
  Child sibling = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    may_end.wait();
    EXPECT_EQ(lock->depth(), 1u);
    lock->release();
  });
  holds.wait();
  child([&] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_THROW(lock->release(), AssertionError);
  }).join();
  may_end.open();
  sibling.join();
}

// --- Children of children ------------------------------------------------------------------------------

// Spec: lock.owner.child
TEST_P(AChildMadeBy, has_a_child_that_owns_nothing_of_either) {
  SharedLock childs_lock;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] {
    EXPECT_EQ(childs_lock->acquire(), AcquireResult::acquired);
    child([&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_FALSE(childs_lock->is_owned());
      EXPECT_THROW(childs_lock->release(), AssertionError);
      EXPECT_EQ(childs_lock->try_acquire(), AcquireResult::not_acquired);
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    }).join();
    EXPECT_TRUE(childs_lock->is_owned());
    childs_lock->release();
  }).join();
  EXPECT_EQ(childs_lock->try_acquire(), AcquireResult::acquired);
}

// Spec: lock.owner.child
TEST_P(AChildMadeBy, has_a_child_that_owns_nothing_when_it_never_used_a_lock_itself) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  child([&] {
    child([&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_THROW(lock->release(), AssertionError);
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    }).join();
  }).join();
}

// Spec: lock.inherit.death, lock.acquire.exclusion
TEST_P(AChildMadeBy, keeps_its_locks_apart_from_those_of_a_child_of_its_own) {
  support::SharedLocks<3> own;
  child([&] {
    EXPECT_EQ(own[0].acquire(), AcquireResult::acquired);
    EXPECT_EQ(own[1].acquire(), AcquireResult::acquired);
    Gate holds, may_end;
    Child grandchild = child([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      holds.open();
      may_end.wait();
    });
    holds.wait();
    own[1].release();
    EXPECT_EQ(own[2].acquire(), AcquireResult::acquired);
    may_end.open();
    grandchild.join();
  }).join();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(own[0].try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(own[1].try_acquire(), AcquireResult::acquired);
  EXPECT_EQ(own[2].try_acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.death
TEST_P(AChildMadeBy, inherits_from_a_killed_child_of_its_own) {
  child([&] {
    Gate holds;
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
    Child owner = child([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      holds.open();
      for (;;) pause();
    });
    holds.wait();
    owner.kill();
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
  }).join();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// The record that it has of itself is its parent's until it uses a lock, and must not come to life before.
// Spec: lock.owner.child
TEST(AChild, does_not_own_what_its_parent_holds_after_a_new_thread_of_its_own_used_a_lock) {
  SharedLock lock, other;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party(As::process, [&] {
    std::thread([&] {
      EXPECT_EQ(other->acquire(), AcquireResult::acquired);
      other->release();
    }).join();
    EXPECT_FALSE(lock->is_owned());
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
  }).join();
}

// --- Parents with several threads ----------------------------------------------------------------------

// The parent is a process of its own, which may have several threads without harm to the other tests.
class AChildOfManyThreadsMadeBy : public AChildMadeBy {
 protected:
  void in_a_parent(const std::function<void()>& body) const { Party(As::process, body).join(); }
};
INSTANTIATE_TEST_SUITE_P(Birth, AChildOfManyThreadsMadeBy, each_birth, testing::PrintToStringParamName());

// Spec: lock.owner.child
TEST_P(AChildOfManyThreadsMadeBy, does_not_own_what_another_thread_of_its_parent_holds) {
  in_a_parent([&] {
    Gate holds, may_release;
    std::thread owner([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      holds.open();
      may_release.wait();
      lock->release();
    });
    holds.wait();
    Child other = child([&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_THROW(lock->release(), AssertionError);
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    });
    other.wait_until_asleep();
    may_release.open();
    owner.join();
    other.join();
  });
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Its record of itself is an empty one, beside a page that another thread has filled and the child's kernel
// wiped: an empty record must not look valid there.
// Spec: lock.owner.child, lock.release.owner-only
TEST_P(AChildOfManyThreadsMadeBy, owns_nothing_when_the_thread_that_made_it_never_used_a_lock) {
  SharedLock free;
  in_a_parent([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    std::thread([&] {
      child([&] {
        EXPECT_FALSE(free->is_owned());
        EXPECT_THROW(free->release(), AssertionError);
        EXPECT_FALSE(lock->is_owned());
        EXPECT_THROW(lock->release(), AssertionError);
      }).join();
    }).join();
    lock->release();
  });
}

// Spec: lock.inherit.death, lock.try.busy
TEST_P(AChildOfManyThreadsMadeBy, acquires_and_dies_as_its_first_use_when_its_maker_never_used_a_lock) {
  SharedLock free;
  in_a_parent([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    std::thread([&] {
      child([&] {
        EXPECT_EQ(free->acquire(), AcquireResult::acquired);
        EXPECT_EQ(free->acquire(), AcquireResult::reentered);
        EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
      }).join();
    }).join();
    EXPECT_EQ(free->try_acquire(), AcquireResult::inherited);
    lock->release();
  });
}

// Spec: lock.owner.child, lock.acquire.progress
TEST_P(AChildOfManyThreadsMadeBy, can_be_made_while_other_threads_of_the_parent_sleep_in_acquire) {
  in_a_parent([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    InSharedMemory<std::atomic<pid_t>> tid(0);
    std::thread waiter([&] {
      *tid = static_cast<pid_t>(support::my_tid());
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      lock->release();
    });
    while (*tid == 0) std::this_thread::yield();
    support::wait_until_asleep_in_futex(*tid);
    Child other = child([&] {
      EXPECT_FALSE(lock->is_owned());
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      lock->release();
    });
    other.wait_until_asleep();
    lock->release();
    waiter.join();
    other.join();
  });
  EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
}

// Not under ThreadSanitizer. A child begins with a copy of what it knows of the parent's other threads, and
// never learns what they did since: it reports as a race what the lock orders between the processes. And a
// child made without libc's knowledge may find the sanitizer's own locks taken, for ever.
#if !HEIRLOCK_THREAD_SANITIZER
// Spec: lock.owner.child, lock.acquire.exclusion
TEST_P(AChildOfManyThreadsMadeBy, can_be_made_while_another_thread_acquires_and_releases_all_the_time) {
  InSharedMemory<std::atomic<int>> counter(0);
  in_a_parent([&] {
    std::atomic<bool> go_on{true};
    const auto once = [&] {
      EXPECT_NE(lock->acquire(), AcquireResult::reentered);
      const int before = counter->load(std::memory_order_relaxed);
      EXPECT_EQ(lock->depth(), 1u);
      counter->store(before + 1, std::memory_order_relaxed);
      lock->release();
    };
    int rounds = 0;
    std::thread busy([&] {
      for (; go_on; ++rounds) once();
    });
    constexpr int children = 30;
    for (int i = 0; i < children; ++i) child(once).join();
    go_on = false;
    busy.join();
    EXPECT_EQ(counter->load(), rounds + children);
  });
}
#endif

}  // namespace
