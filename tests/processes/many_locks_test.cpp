// More locks held at a death than the kernel's walk treats. Those it leaves out only the backstop finds.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <optional>
#include <thread>

#include "dying_owner.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::Backstop;
using support::Gate;
using support::SharedLocks;
using support::Waiter;

namespace {

constexpr std::size_t treated_by_the_kernel = 2048;  // ROBUST_LIST_LIMIT in the kernel's linux/futex.h
constexpr std::size_t held = 2100;
constexpr std::size_t left_out =
    held - treated_by_the_kernel;  // the first acquired: the walk is last to first

enum class Corpse { reaped, left, leader_of_a_process_that_lives_on };
std::ostream& operator<<(std::ostream& out, Corpse corpse) {
  return out << (corpse == Corpse::reaped ? "reaped"
                 : corpse == Corpse::left ? "left"
                                          : "leader_of_a_process_that_lives_on");
}

// Their owner holds them all, and dies when the test wants.
class ManyLocks : public testing::TestWithParam<Corpse> {
 protected:
  void SetUp() override {
    const auto take = [this] {
      for (ReentrantLock& lock : locks) ASSERT_EQ(lock.acquire(), AcquireResult::acquired);
    };
    if (GetParam() == Corpse::left) {
      Gate holds;
      unreaped_ = fork();
      if (unreaped_ == 0) {
        take();
        holds.open();
        for (;;) pause();
      }
      holds.wait();
    } else {
      owner_.emplace(GetParam() == Corpse::reaped ? Death::by_sigkill : Death::by_end_of_leader, take);
    }
  }
  void TearDown() override {
    if (unreaped_ > 0) waitpid(unreaped_, nullptr, 0);
  }

  void let_the_owner_die() {
    if (owner_) return owner_->die();
    ASSERT_EQ(kill(unreaped_, SIGKILL), 0);
    siginfo_t end{};
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(unreaped_), &end, WEXITED | WNOWAIT), 0);
    ASSERT_EQ(end.si_status, SIGKILL);
  }

  SharedLocks<held> locks;

 private:
  std::optional<DyingOwner> owner_;
  pid_t unreaped_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Corpse, ManyLocks,
                         testing::Values(Corpse::reaped, Corpse::left,
                                         Corpse::leader_of_a_process_that_lives_on),
                         testing::PrintToStringParamName());

// Spec: lock.inherit.many, lock.inherit.death
TEST_P(ManyLocks, are_all_inherited) {
  let_the_owner_die();
  std::atomic<std::size_t> inherited{0};
  std::list<std::thread> heirs;
  for (ReentrantLock& lock : locks) {
    if (lock.try_acquire() == AcquireResult::inherited)
      ++inherited;
    else  // in a thread of its own, so that they wait out the first slice all at once
      heirs.emplace_back([&lock, &inherited] {
        const AcquireResult result = lock.acquire_for(Waiter::patience);
        EXPECT_EQ(result, AcquireResult::inherited);
        if (result == AcquireResult::not_acquired) return;
        ++inherited;
        lock.release();
      });
  }
  for (std::thread& heir : heirs) heir.join();
  EXPECT_EQ(inherited, held);
}

// Who waits for a lock that the kernel treated sleeps without the backstop.
// Spec: lock.inherit.many, lock.inherit.sleeper, lock.inherit.death, kernel.list-limit
TEST_P(ManyLocks, are_inherited_by_those_who_sleep) {
  Waiter first(locks[0], Backstop::on);
  Waiter second(locks[0]);  // woken by the first, as the burial kept its mark
  Waiter of_the_last_treated(locks[left_out]);
  Waiter of_the_first_treated(locks[held - 1]);
  let_the_owner_die();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
  EXPECT_EQ(of_the_last_treated.result(), AcquireResult::inherited);
  EXPECT_EQ(of_the_first_treated.result(), AcquireResult::inherited);
}

// The program that the owner became has the owner's thread id: what the kernel left out looks like its own.
// Spec: lock.inherit.many, lock.inherit.exec
TEST(ManyLocksOfALeaderThatCallsExec, are_all_inherited_when_the_program_ends) {
  SharedLocks<held> locks;
  {
    DyingOwner owner(Death::by_exec_of_leader, [&] {
      for (ReentrantLock& lock : locks) ASSERT_EQ(lock.acquire(), AcquireResult::acquired);
    });
    owner.die();
    for (std::size_t i = left_out; i < held; ++i)
      EXPECT_EQ(locks[i].try_acquire(), AcquireResult::inherited) << "lock " << i;
  }
  EXPECT_EQ(locks[0].acquire_for(Waiter::patience), AcquireResult::inherited);
  EXPECT_EQ(locks[left_out - 1].acquire_for(Waiter::patience), AcquireResult::inherited);
}

}  // namespace
