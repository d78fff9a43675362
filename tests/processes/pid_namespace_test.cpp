// Thread ids of two PID namespaces must not meet in one lock: each numbers its threads from 1.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <system_error>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::As;
using support::Birth;
using support::Child;
using support::Gate;
using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

// Gives the children that the caller makes from now on a PID namespace of their own.
bool enter_new_pid_namespace() {
  if (unshare(CLONE_NEWPID) == 0) return true;
  return errno == EPERM && unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0;
}

class PidNamespace : public testing::Test {
 protected:
  void SetUp() override {
    Child probe(Birth::fork, [this] { *permitted_ = enter_new_pid_namespace(); });
    probe.join();
    if (!*permitted_)
      GTEST_SKIP() << "this system permits no new PID namespace, with a user namespace or without";
  }

  // Runs the body as process 1 of a new PID namespace, in the background.
  static Party in_another(const std::function<void()>& body) {
    return Party(As::process, [body] {
      ASSERT_TRUE(enter_new_pid_namespace());
      Child first(Birth::fork, [&] {
        EXPECT_EQ(getpid(), 1);
        body();
      });
      first.join();
    });
  }

  // All acquires of a lock of another namespace are refused, and nothing changes.
  static void expect_refusal(ReentrantLock& lock) {
    const auto before = support::bytes_of(lock);
    const auto expect_refused = [](auto acquire) {
      try {
        EXPECT_EQ(acquire(), AcquireResult::not_acquired) << "and no exception";
        ADD_FAILURE() << "it was not refused";
      } catch (const std::system_error& error) {
        EXPECT_EQ(error.code(), heirlock::errc::foreign_pid_namespace) << error.what();
      }
    };
    expect_refused([&] { return lock.try_acquire(); });
    expect_refused([&] { return lock.acquire(); });
    expect_refused([&] { return lock.acquire_for(std::chrono::milliseconds(1)); });
    EXPECT_EQ(support::bytes_of(lock), before);
  }

  SharedLock lock;

 private:
  support::InSharedMemory<bool> permitted_;
};

// Also of one that has released the lock, or died.
// Spec: lock.owner.pid-namespace, lock.error.unchanged, lock.acquire.progress
TEST_F(PidNamespace, must_be_the_first_owners) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  {
    Waiter waiter(*lock);
    in_another([&] { expect_refusal(*lock); }).join();
    lock->release();
    EXPECT_EQ(waiter.result(), AcquireResult::acquired);
  }
  in_another([&] { expect_refusal(*lock); }).join();
  Party(As::process, [&] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired); }).join();
  in_another([&] { expect_refusal(*lock); }).join();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.owner.pid-namespace, lock.error.unchanged, lock.acquire.exclusion, lock.owner.query
// Spec: lock.release.owner-only
TEST_F(PidNamespace, keeps_two_threads_with_the_same_id_apart) {
  Gate holds, may_release;
  Party owner = in_another([&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(lock->owner(), 1);
    holds.open();
    may_release.wait();
    EXPECT_EQ(lock->depth(), 1u);
    lock->release();
  });
  holds.wait();
  expect_refusal(*lock);  // to the outer one too
  in_another([&] {
    EXPECT_EQ(support::my_tid(), 1u);
    EXPECT_EQ(lock->owner(), 1);
    EXPECT_FALSE(lock->is_owned());
    EXPECT_EQ(lock->depth(), 0u);
    EXPECT_THROW(lock->release(), heirlock::AssertionError);
    EXPECT_THROW(lock->repaired(), heirlock::AssertionError);
    expect_refusal(*lock);
  }).join();
  may_release.open();
  owner.join();
}

// Spec: lock.inherit.death
TEST_F(PidNamespace, may_be_any_that_all_users_share) {
  in_another([&] {
    Gate holds;
    Child owner(Birth::fork, [&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      holds.open();
      for (;;) pause();
    });
    holds.wait();
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    owner.kill();
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
    lock->release();
  }).join();
}

// A process that has unshared its PID namespace stays in the old one; its children are in the new.
// Spec: lock.owner.pid-namespace
TEST_F(PidNamespace, is_the_callers_and_not_its_childrens) {
  struct stat own = {};
  ASSERT_EQ(stat("/proc/self/ns/pid", &own), 0);
  Party(As::process, [&] {
    ASSERT_TRUE(enter_new_pid_namespace());
    Gate done;
    Child first(Birth::fork,
                [&] { done.wait(); });  // until there is one, /proc shows no namespace of children
    lock->lock();
    EXPECT_EQ(support::fields_of(*lock).pid_namespace.load(heirlock::detail::Order::relaxed), own.st_ino);
    lock->unlock();
    done.open();
    first.join();
  }).join();
}

}  // namespace
