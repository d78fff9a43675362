// A dead owner's thread id comes to a living thread, which must not be taken for that owner.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "dying_owner.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/lock_probe.hpp"
#include "support/own_mounts.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using support::As;
using support::Birth;
using support::Child;
using support::InSharedMemory;
using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

class AThreadIdThatCameBack : public testing::Test {
 protected:
  // An owner calls exec from a thread that is not the leader: its id is free, the lock still names it, and
  // the kernel's walk has passed. The body runs with that id. All are in a PID namespace of their own, where
  // also an ordinary user may choose an id, and nobody else takes it first.
  void reuse(const std::function<void()>& body, const std::function<void()>& before_death = nullptr) {
    InSharedMemory<bool> is_permitted{false};
    Party(As::process, [&] {
      if (!support::enter_own_mounts() || unshare(CLONE_NEWPID) != 0) return;
      Child(Birth::fork, [&] {
        *is_permitted =
            mount("proc", "/proc", "proc", 0, nullptr) == 0 && support::can_make_child(Birth::clone3);
        if (!*is_permitted) return;
        DyingOwner owner(Death::by_exec_of_other_thread, [&] { lock->lock(); });
        if (before_death) before_death();
        owner.die();
        const pid_t id = lock->owner();
        const auto live_again = [&] {
          ASSERT_EQ(static_cast<pid_t>(support::my_tid()), id);
          body();
        };
        Child(Birth::clone3, live_again, id).join();
      }).join();
    }).join();
    if (!*is_permitted) GTEST_SKIP() << "this system permits no PID namespace with a /proc of its own";
  }

  SharedLock lock;
};

// Spec: lock.owner.thread-id-reuse, lock.release.owner-only, lock.inherit.flag
TEST_F(AThreadIdThatCameBack, owns_nothing_and_inherits) {
  reuse([this] {
    EXPECT_FALSE(lock->is_owned());
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
    EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
    lock->release();
    lock->release();
    Child(Birth::fork, [this] { EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited); }).join();
  });
}

// Its sleep is without the backstop: it goes on because its bit outlives the dead owner and the new one.
// Spec: lock.owner.thread-id-reuse, lock.inherit.sleeper
TEST_F(AThreadIdThatCameBack, wakes_the_dead_owners_sleepers) {
  std::unique_ptr<Waiter> waiter;
  reuse(
      [&] {
        EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
        lock->release();
        EXPECT_EQ(waiter->result(), AcquireResult::inherited);
      },
      [&] { waiter = std::make_unique<Waiter>(*lock); });
}

}  // namespace
