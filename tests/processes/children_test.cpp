// A child owns nothing, however it was made: by fork, by _Fork, which runs no handlers, or by clone and
// clone3, of which libc knows nothing. And it can own like anybody else.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

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

// Spec: lock.owner.child, lock.owner.query, lock.release.owner-only
// Spec: lock.inherit.repaired-owner-only, lock.try.busy
TEST_P(AChildMadeBy, owns_nothing_of_its_parents) {
  Party(As::process, [&] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired); }).join();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  ASSERT_EQ(lock->acquire(), AcquireResult::reentered);
  Gate child_has_looked;
  Gate parent_is_back;
  Child other = child([&] {
    const auto expect_nothing = [&] {
      EXPECT_THROW(lock->release(), AssertionError);
      EXPECT_THROW(lock->repaired(), AssertionError);
      EXPECT_FALSE(lock->is_owned());
      EXPECT_EQ(lock->depth(), 0u);
      EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    };
    expect_nothing();
    child_has_looked.open();
    parent_is_back.wait();
    expect_nothing();
  });
  child_has_looked.wait();
  lock->release();
  lock->release();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  parent_is_back.open();
  other.join();
  EXPECT_EQ(lock->depth(), 1u);
  EXPECT_TRUE(lock->needs_repair());
  Party(As::process, [&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
}

// Spec: lock.owner.child, lock.acquire.blocking, lock.inherit.death, lock.inherit.sleeper
TEST_P(AChildMadeBy, gets_and_leaves_a_lock_to_its_parent) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Gate holds;
  Child owner = child([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  owner.wait_until_asleep_on(&*lock);
  lock->release();
  holds.wait();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
  Waiter waiter(*lock);
  owner.kill();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.owner.child, lock.inherit.death, lock.acquire.exclusion
TEST_P(AChildMadeBy, shares_nothing_with_its_own_child) {
  support::SharedLocks<3> own;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  SharedLock grandchilds;
  child([&] {
    child([&] { EXPECT_THROW(lock->release(), AssertionError); }).join();  // before it used a lock itself
    EXPECT_EQ(own[0].acquire(), AcquireResult::acquired);
    EXPECT_EQ(own[1].acquire(), AcquireResult::acquired);
    Gate holds, may_end;
    Child grandchild = child([&] {
      for (ReentrantLock* const others : {&*lock, &own[0], &own[1]}) {
        EXPECT_FALSE(others->is_owned());
        EXPECT_THROW(others->release(), AssertionError);
        EXPECT_EQ(others->try_acquire(), AcquireResult::not_acquired);
      }
      EXPECT_EQ(grandchilds->acquire(), AcquireResult::acquired);
      holds.open();
      may_end.wait();
    });
    holds.wait();
    EXPECT_EQ(grandchilds->try_acquire(), AcquireResult::not_acquired);
    own[1].release();
    EXPECT_EQ(own[2].acquire(), AcquireResult::acquired);
    may_end.open();
    grandchild.join();
    EXPECT_EQ(grandchilds->try_acquire(), AcquireResult::inherited);
  }).join();
  EXPECT_EQ(grandchilds->try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(own[0].try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(own[1].try_acquire(), AcquireResult::acquired);
  EXPECT_EQ(own[2].try_acquire(), AcquireResult::inherited);
}

// The record that it has of itself is its parent's until it uses a lock, and must not come to life before.
// Spec: lock.owner.child
TEST(AChild, whose_thread_used_a_lock_owns_nothing) {
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

// Such a child shares its parent's memory until it calls exec. The program releases the lock, or tries to.
// Spec: lock.owner.child, lock.acquire.exclusion
TEST(AChild, that_is_spawned_leaves_the_owner_the_owner) {
  const int file = memfd_create("a lock", 0);
  ASSERT_EQ(ftruncate(file, sizeof(ReentrantLock)), 0);
  void* const memory = mmap(nullptr, sizeof(ReentrantLock), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& lock = *static_cast<ReentrantLock*>(memory);
  ASSERT_EQ(lock.acquire(), AcquireResult::acquired);
  const auto before = support::bytes_of(lock);
  std::string path = STRANGER, number = std::to_string(file);
  char* const arguments[] = {path.data(), number.data(), nullptr};
  pid_t spawned = 0;
  ASSERT_EQ(posix_spawn(&spawned, path.c_str(), nullptr, nullptr, arguments, environ), 0);
  int status = 0;
  ASSERT_EQ(waitpid(spawned, &status, 0), spawned);
  EXPECT_EQ(status, 0) << "it was not refused";
  EXPECT_EQ(support::bytes_of(lock), before);
  lock.release();
  munmap(memory, sizeof(ReentrantLock));
  close(file);
}

// The record of the thread that makes it is an empty one, beside a page that another thread has filled and
// the child's kernel wiped: an empty record must not look valid there.
// Spec: lock.owner.child, lock.release.owner-only, lock.try.busy
TEST_P(AChildMadeBy, a_thread_without_locks_owns_nothing) {
  SharedLock free;
  const auto parent = [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    std::thread([&] {
      child([&] {
        EXPECT_FALSE(free->is_owned());
        EXPECT_THROW(free->release(), AssertionError);
        EXPECT_FALSE(lock->is_owned());
        EXPECT_THROW(lock->release(), AssertionError);
        EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
      }).join();
    }).join();
    lock->release();
  };
  Party(As::process, parent).join();  // which may have several threads without harm to the other tests
}

// Spec: lock.owner.child, lock.acquire.exclusion
TEST_P(AChildMadeBy, may_come_while_another_thread_acquires_and_releases) {
  InSharedMemory<std::atomic<int>> counter(0);
  const auto parent = [&] {
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
  };
  Party(As::process, parent).join();  // which may have several threads without harm to the other tests
}

}  // namespace
