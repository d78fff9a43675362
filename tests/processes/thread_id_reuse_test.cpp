// A dead owner's thread id comes to a living thread, which must not be taken for that owner. And owners that
// are gone though no kernel's walk has said so: their words lead to nobody.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
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
using heirlock::ReentrantLock;
using support::As;
using support::Backstop;
using support::Birth;
using support::Child;
using support::fields_of;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

// The word of an owner whom the kernel's walk missed. Its depth and id are what such an owner would leave.
void leave_as_if_held_by(pid_t tid, ReentrantLock& lock, std::uint32_t flags = 0) {
  constexpr std::uint64_t somebodys_id = 0x1234567890abcdef;
  fields_of(lock).word.store(static_cast<std::uint32_t>(tid) | flags, heirlock::detail::Order::relaxed);
  fields_of(lock).owner_id.store(somebodys_id, heirlock::detail::Order::relaxed);
  fields_of(lock).depth.store(7);
}

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

// The id of a thread that has just ended and is not reaped, or is.
pid_t dead_process() {
  const pid_t process = fork();
  if (process == 0) _exit(0);
  siginfo_t end{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(process), &end, WEXITED | WNOWAIT), 0);
  return process;
}

constexpr std::chrono::milliseconds several_slices{400};  // 50, 100, 200 and what is left

class AWordThatTheKernelsWalkMissed : public testing::Test {
 protected:
  SharedLock lock;
};

// Spec: lock.inherit.death
TEST_F(AWordThatTheKernelsWalkMissed, is_inherited_when_its_owner_is_not_reaped) {
  const pid_t owner = dead_process();
  leave_as_if_held_by(owner, *lock);
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
  waitpid(owner, nullptr, 0);
}

// Spec: lock.inherit.death
TEST_F(AWordThatTheKernelsWalkMissed, is_inherited_when_its_owner_was_a_leader) {
  DyingOwner process(Death::by_end_of_leader, [] {});
  process.die();
  leave_as_if_held_by(process.process(), *lock);
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
}

// One of them finds out; the others are woken, one after the other.
// Spec: lock.inherit.sleeper
TEST_F(AWordThatTheKernelsWalkMissed, is_inherited_by_all_who_sleep) {
  Gate may_die;
  const pid_t owner = fork();
  if (owner == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    may_die.wait();
    _exit(0);
  }
  leave_as_if_held_by(owner, *lock);
  Waiter first(*lock, Backstop::on);
  Waiter second(*lock);
  Waiter third(*lock);
  may_die.open();
  ASSERT_EQ(waitpid(owner, nullptr, 0), owner);
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
  EXPECT_EQ(third.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.stopped, lock.acquire.exclusion
TEST_F(AWordThatTheKernelsWalkMissed, is_left_alone_while_its_owner_lives) {
  Gate may_end;
  Party owner(As::process, [&] { may_end.wait(); });
  leave_as_if_held_by(owner.tid(), *lock);
  EXPECT_EQ(lock->acquire_for(several_slices), AcquireResult::not_acquired);
  may_end.open();
}

}  // namespace
