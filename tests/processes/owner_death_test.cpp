// What the others get when an owner dies, by each death an owner can die. Sleepers sleep without the backstop
// wherever the kernel does its part.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <list>
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
using support::As;
using support::Backstop;
using support::Gate;

using support::Party;
using support::SharedLock;
using support::SharedLocks;
using support::Waiter;

namespace {

// --- However the owner dies ----------------------------------------------------------------------------

class OwnerDeath : public testing::TestWithParam<Death> {
 protected:
  std::function<void()> acquire(int depth = 1, AcquireResult first = AcquireResult::acquired) {
    return [this, depth, first] {
      EXPECT_EQ(lock->acquire(), first);
      for (int i = 1; i < depth; ++i) EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
    };
  }
  Backstop needed_backstop() const { return kernel_sees(GetParam()) ? Backstop::off : Backstop::on; }

  SharedLock lock;
};

class OwnerDeathThatTheKernelSees : public OwnerDeath {};

const auto each_death_that_the_kernel_sees = testing::Values(
    Death::by_sigkill, Death::by_underscore_exit, Death::by_exit, Death::by_abort, Death::by_end_of_thread,
    Death::by_end_of_leader, Death::by_exec_of_leader, Death::by_exec_of_a_thread_mate);
INSTANTIATE_TEST_SUITE_P(Death, OwnerDeath, each_death_that_the_kernel_sees,
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(DeathUnseen, OwnerDeath, testing::Values(Death::by_exec_of_other_thread),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Death, OwnerDeathThatTheKernelSees, each_death_that_the_kernel_sees,
                         testing::PrintToStringParamName());

// Spec: lock.inherit.death, lock.inherit.exec
TEST_P(OwnerDeath, makes_the_next_to_acquire_inherit) {
  DyingOwner owner(GetParam(), acquire());
  owner.die();
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
}

// Spec: kernel.exit-walk, kernel.owner-died, kernel.exec
TEST_P(OwnerDeath, shows_in_the_word_as_soon_as_it_can_be_known_unless_another_thread_called_exec) {
  DyingOwner owner(GetParam(), acquire());
  const std::uint32_t held = support::word_of(*lock);
  owner.die();
  EXPECT_EQ(support::word_of(*lock), kernel_sees(GetParam()) ? heirlock::detail::owner_died_bit : held);
}

// Spec: lock.inherit.death, lock.try.free, kernel.exit-walk
TEST_P(OwnerDeathThatTheKernelSees, needs_no_waiting_to_be_inherited_from) {
  DyingOwner owner(GetParam(), acquire());
  owner.die();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper, lock.inherit.exec
TEST_P(OwnerDeath, lets_a_sleeper_inherit) {
  DyingOwner owner(GetParam(), acquire());
  Waiter waiter(*lock, needed_backstop());
  owner.die();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper, lock.inherit.flag
TEST_P(OwnerDeath, lets_three_sleepers_inherit_one_after_the_other) {
  DyingOwner owner(GetParam(), acquire());
  Waiter first(*lock, needed_backstop());
  Waiter second(*lock, needed_backstop());
  Waiter third(*lock, needed_backstop());
  owner.die();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
  EXPECT_EQ(third.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper, lock.inherit.repaired
TEST_P(OwnerDeath, lets_one_of_three_sleepers_inherit_when_that_one_repairs) {
  DyingOwner owner(GetParam(), acquire());
  const auto repair_and_release = [this] {
    if (lock->needs_repair()) lock->repaired();
    lock->release();
  };
  Waiter first(*lock, needed_backstop(), repair_and_release);
  Waiter second(*lock, needed_backstop(), repair_and_release);
  Waiter third(*lock, needed_backstop(), repair_and_release);
  owner.die();
  std::array<AcquireResult, 3> results{first.result(), second.result(), third.result()};
  std::sort(results.begin(), results.end());
  EXPECT_EQ(results, (std::array<AcquireResult, 3>{AcquireResult::acquired, AcquireResult::acquired,
                                                   AcquireResult::inherited}));
}

// Spec: lock.inherit.depth
TEST_P(OwnerDeath, at_depth_3_leaves_an_heir_who_owes_one_release) {
  DyingOwner owner(GetParam(), acquire(3));
  owner.die();
  ASSERT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
  EXPECT_EQ(lock->depth(), 1u);
  lock->release();
  EXPECT_EQ(lock->owner(), 0);
}

// Spec: lock.inherit.depth, lock.inherit.sleeper
TEST_P(OwnerDeath, at_depth_3_with_sleepers_leaves_heirs_who_owe_one_release) {
  DyingOwner owner(GetParam(), acquire(3));
  Waiter first(*lock, needed_backstop());
  Waiter second(*lock, needed_backstop());
  owner.die();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.death, lock.inherit.flag
TEST_P(OwnerDeath, twice_in_a_row_makes_the_third_inherit) {
  DyingOwner owner(GetParam(), acquire());
  owner.die();
  DyingOwner heir(GetParam(), acquire(2, AcquireResult::inherited));
  heir.die();
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
}

// Spec: lock.inherit.sleeper, lock.inherit.flag
TEST_P(OwnerDeath, twice_in_a_row_lets_a_sleeper_inherit) {
  DyingOwner owner(GetParam(), acquire());
  owner.die();
  DyingOwner heir(GetParam(), acquire(1, AcquireResult::inherited));
  Waiter waiter(*lock, needed_backstop());
  heir.die();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.death
TEST_P(OwnerDeath, after_repairing_makes_the_next_inherit_again) {
  DyingOwner owner(GetParam(), acquire());
  owner.die();
  DyingOwner heir(GetParam(), [this] {
    EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
    lock->repaired();
  });
  heir.die();
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
}

// Spec: lock.inherit.death, lock.acquire.free
TEST_P(OwnerDeath, leaves_locks_alone_that_it_had_released) {
  DyingOwner owner(GetParam(), [this] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  owner.die();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
}

// Spec: lock.inherit.death
TEST(OwnerDeathOfAProcess, lets_the_locks_of_all_its_threads_be_inherited) {
  constexpr int threads = 5;
  SharedLocks<2 * threads> locks;
  Gate holds;
  Party process(As::process, [&] {
    std::list<std::thread> all;
    for (std::size_t i = 0; i < threads; ++i)
      all.emplace_back([&, i] {
        EXPECT_EQ(locks[2 * i].acquire(), AcquireResult::acquired);
        EXPECT_EQ(locks[2 * i + 1].acquire(), AcquireResult::acquired);
        holds.open();
        for (;;) pause();
      });
    all.front().join();
  });
  for (int i = 0; i < threads; ++i) holds.wait();
  process.kill();
  for (ReentrantLock& lock : locks) EXPECT_EQ(lock.try_acquire(), AcquireResult::inherited);
}

// The thread is done with the lock, and its memory may serve another purpose. It happens to hold what the
// kernel would take for a lock of the thread's, if anything still led there.
class MemoryThatIsNoLockAnyMore : public testing::Test {
 protected:
  void expect_untouched_by_the_death_of_one_who_did(const std::function<void()>& operation) {
    Party dying(As::process, [&] {
      operation();
      support::set_word(*lock, support::my_tid());
    });
    const auto word = static_cast<std::uint32_t>(dying.tid());
    dying.join();
    EXPECT_EQ(support::word_of(*lock), word);
  }

  SharedLock lock;
};

// Spec: lock.release.untouched
TEST_F(MemoryThatIsNoLockAnyMore, is_left_alone_when_a_thread_dies_that_had_released_the_lock) {
  expect_untouched_by_the_death_of_one_who_did([this] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
}

// Spec: lock.release.untouched
TEST_F(MemoryThatIsNoLockAnyMore, is_left_alone_when_a_thread_dies_that_had_released_the_lock_to_a_waiter) {
  expect_untouched_by_the_death_of_one_who_did([this] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    Waiter waiter(*lock);
    lock->release();
    EXPECT_EQ(waiter.result(), AcquireResult::acquired);
  });
}

// Spec: lock.try.busy
TEST_F(MemoryThatIsNoLockAnyMore, is_left_alone_when_a_thread_dies_that_had_not_got_the_lock) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  expect_untouched_by_the_death_of_one_who_did([this] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
  });
  support::set_word(*lock, support::my_tid());  // to be released
}

// Spec: lock.release.owner-only
TEST_F(MemoryThatIsNoLockAnyMore, is_left_alone_when_a_thread_dies_that_was_refused_a_release) {
  expect_untouched_by_the_death_of_one_who_did(
      [this] { EXPECT_THROW(lock->release(), heirlock::AssertionError); });
}

// --- The flag ------------------------------------------------------------------------------------------

class InheritedLock : public testing::Test {
 protected:
  InheritedLock() { let_an_owner_die(AcquireResult::acquired); }

  void let_an_owner_die(AcquireResult how_it_gets_the_lock) {
    DyingOwner owner(Death::by_sigkill, [&] { EXPECT_EQ(lock->acquire(), how_it_gets_the_lock); });
    owner.die();
  }
  // Leaves WAITERS in the word and nobody asleep.
  void let_a_waiter_give_up() {
    Party(As::process, [this] {
      while ((support::word_of(*lock) & heirlock::detail::waiters_bit) == 0)  // its time may be over before
        EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
    }).join();
  }

  SharedLock lock;
};

// Spec: lock.inherit.flag
TEST_F(InheritedLock, is_inherited_again_and_again_while_it_is_released_unrepaired) {
  for (int i = 0; i < 3; ++i)
    Party(As::process, [this] {
      EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
      lock->release();
    }).join();
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.flag
TEST_F(InheritedLock, is_inherited_by_a_sleeper_when_it_is_released_unrepaired) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  Waiter waiter(*lock);
  lock->release();
  EXPECT_EQ(waiter.result(), AcquireResult::inherited);
}

// Of two such releases in a row, the second is the one that may wake in another way.
// Spec: lock.inherit.flag
TEST_F(InheritedLock, keeps_its_flag_through_releases_that_find_nobody_to_wake) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  let_a_waiter_give_up();
  lock->release();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  lock->release();
  EXPECT_TRUE(lock->needs_repair());
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.flag, lock.acquire.progress
TEST_F(InheritedLock, is_inherited_by_sleepers_though_the_release_before_found_nobody_to_wake) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  let_a_waiter_give_up();
  lock->release();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  Waiter first(*lock);
  Waiter second(*lock);
  lock->release();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
}

// Spec: lock.inherit.repaired, lock.acquire.progress
TEST_F(InheritedLock, is_acquired_by_sleepers_after_a_repair_though_the_release_before_found_nobody_to_wake) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  let_a_waiter_give_up();
  lock->release();
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  Waiter first(*lock);
  Waiter second(*lock);
  lock->repaired();
  lock->release();
  EXPECT_EQ(first.result(), AcquireResult::acquired);
  EXPECT_EQ(second.result(), AcquireResult::acquired);
}

// Spec: lock.inherit.flag
TEST_F(InheritedLock, is_inherited_after_a_second_death) {
  let_an_owner_die(AcquireResult::inherited);
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.flag, lock.owner.query
TEST_F(InheritedLock, needs_repair_also_when_its_heir_reenters_and_leaves) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  ASSERT_EQ(lock->acquire(), AcquireResult::reentered);
  lock->release();
  EXPECT_TRUE(lock->needs_repair());
}

// Spec: lock.inherit.repaired
TEST_F(InheritedLock, is_acquired_after_it_was_repaired_and_released) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  lock->repaired();
  lock->release();
  Party(As::process, [this] { EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired); }).join();
}

// Spec: lock.inherit.repaired
TEST_F(InheritedLock, is_acquired_by_a_sleeper_after_it_was_repaired_and_released) {
  ASSERT_EQ(lock->acquire(), AcquireResult::inherited);
  Waiter waiter(*lock);
  lock->repaired();
  lock->release();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.inherit.death
TEST_F(InheritedLock, is_inherited_when_its_owner_dies_after_repairing) {
  DyingOwner heir(Death::by_sigkill, [this] {
    EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
    lock->repaired();
  });
  heir.die();
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
}

// --- Waiters that die or stop --------------------------------------------------------------------------

class Waiters : public testing::Test {
 protected:
  SharedLock lock;
};

// Spec: lock.acquire.progress
TEST_F(Waiters, go_on_when_one_that_began_to_sleep_before_is_killed) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter killed(*lock);
  Waiter waiter(*lock);
  killed.kill();
  lock->release();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.acquire.progress
TEST_F(Waiters, go_on_when_one_that_began_to_sleep_after_them_is_killed) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter waiter(*lock);
  Waiter killed(*lock);
  killed.kill();
  lock->release();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.acquire.exclusion, kernel.pending-foreign
TEST_F(Waiters, killed_in_their_sleep_leave_the_lock_to_its_owner) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter killed(*lock);
  killed.kill();
  EXPECT_TRUE(lock->is_owned());
  Party(As::process, [this] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
}

// Spec: lock.acquire.free
TEST_F(Waiters, killed_in_their_sleep_leave_a_lock_that_is_acquired_and_not_inherited) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter killed(*lock);
  killed.kill();
  lock->release();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
}

// Spec: lock.inherit.death, kernel.pending-foreign
TEST_F(Waiters, killed_in_their_sleep_while_they_hold_another_lock_let_that_one_be_inherited) {
  SharedLock held;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Party owner(As::process, [&] {
    EXPECT_EQ(held->acquire(), AcquireResult::acquired);
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
  });
  owner.wait_until_asleep();
  owner.kill();
  EXPECT_EQ(held->try_acquire(), AcquireResult::inherited);
  EXPECT_TRUE(lock->is_owned());
}

// Spec: lock.acquire.progress
TEST_F(Waiters, go_on_while_another_one_is_stopped) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Waiter stopped(*lock);
  Waiter waiter(*lock);
  ASSERT_EQ(kill(stopped.pid(), SIGSTOP), 0);
  while (support::state_of(stopped.pid()) != 'T') sched_yield();
  lock->release();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
  ASSERT_EQ(kill(stopped.pid(), SIGCONT), 0);
  EXPECT_EQ(stopped.result(), AcquireResult::acquired);
}

// --- Owners that seem dead and are not, and the reverse ------------------------------------------------

constexpr std::chrono::milliseconds several_slices{400};  // 50, 100, 200 and what is left

// Spec: lock.inherit.stopped
TEST(AStoppedOwner, is_not_taken_for_dead_by_one_who_waits_through_several_slices) {
  SharedLock lock;
  Gate holds, may_release;
  Party owner(As::process, [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    may_release.wait();
    lock->release();
  });
  holds.wait();
  owner.signal(SIGSTOP);
  EXPECT_EQ(lock->acquire_for(several_slices), AcquireResult::not_acquired);
  EXPECT_EQ(lock->owner(), owner.tid());
  owner.signal(SIGCONT);
  may_release.open();
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::acquired);
}

// Spec: lock.inherit.stopped
TEST(AStoppedOwner, hands_the_lock_to_its_sleeper_when_it_goes_on) {
  SharedLock lock;
  Gate holds, may_release;
  Party owner(As::process, [&] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    may_release.wait();
    lock->release();
  });
  holds.wait();
  Waiter waiter(*lock, Backstop::on);
  owner.signal(SIGSTOP);
  EXPECT_EQ(lock->acquire_for(several_slices), AcquireResult::not_acquired);
  EXPECT_FALSE(waiter.has_come_back());
  owner.signal(SIGCONT);
  may_release.open();
  EXPECT_EQ(waiter.result(), AcquireResult::acquired);
}

// Spec: lock.inherit.stopped
TEST(AnOwnerWhoseProcessHasADeadLeader, is_not_taken_for_dead) {
  SharedLock lock;
  Gate holds, may_release;
  DyingOwner process(Death::by_end_of_leader, [&] {
    std::thread([&] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      holds.open();
      may_release.wait();
      lock->release();
      for (;;) pause();
    }).detach();
    holds.wait();
  });
  process.die();
  EXPECT_EQ(lock->acquire_for(several_slices), AcquireResult::not_acquired);
  may_release.open();
  EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::acquired);
}

// Spec: lock.inherit.exec, lock.acquire.exclusion
TEST(AnExecThatFails, leaves_the_owner_the_owner) {
  SharedLock lock;
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  ASSERT_EQ(execl("/proc/no/such/program", "program", nullptr), -1);
  EXPECT_TRUE(lock->is_owned());
  Party(As::process, [&] { EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired); }).join();
  lock->release();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::acquired);
}

// Spec: lock.inherit.death
TEST(AnOwnerThatIsNotReaped, is_taken_for_dead) {
  SharedLock lock;
  const pid_t owner = fork();
  if (owner == 0) _exit(lock->acquire() == AcquireResult::acquired ? 0 : 1);
  siginfo_t end{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(owner), &end, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(support::state_of(owner), 'Z');
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
  ASSERT_EQ(waitpid(owner, nullptr, 0), owner);
  EXPECT_EQ(end.si_status, 0);
}

}  // namespace
