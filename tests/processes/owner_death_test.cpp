// What the others get when an owner dies, by each death an owner can die. Sleepers sleep without the backstop
// wherever the kernel does its part.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "dying_owner.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/shared_lock.hpp"
#include "support/waiter.hpp"

using heirlock::AcquireResult;
using support::As;
using support::Backstop;
using support::Gate;

using support::Party;
using support::SharedLock;
using support::Waiter;

namespace {

class OwnerDeath : public testing::TestWithParam<Death> {
 protected:
  std::function<void()> acquire(int depth = 1) {
    return [this, depth] {
      EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
      for (int i = 1; i < depth; ++i) EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
    };
  }
  Backstop needed_backstop() const { return kernel_sees(GetParam()) ? Backstop::off : Backstop::on; }

  SharedLock lock;
};

INSTANTIATE_TEST_SUITE_P(Death, OwnerDeath,
                         testing::Values(Death::by_sigkill, Death::by_underscore_exit, Death::by_exit,
                                         Death::by_abort, Death::by_end_of_thread, Death::by_end_of_leader,
                                         Death::by_exec_of_leader, Death::by_exec_of_other_thread,
                                         Death::by_exec_of_a_thread_mate),
                         testing::PrintToStringParamName());

// Unless another thread than the leader has called exec, the kernel writes it there.
// Spec: lock.inherit.death, lock.inherit.exec, lock.try.free, kernel.exit-walk, kernel.owner-died
// Spec: kernel.exec
TEST_P(OwnerDeath, is_seen_and_inherited_from) {
  DyingOwner owner(GetParam(), acquire());
  const std::uint32_t held = support::word_of(*lock);
  owner.die();
  if (kernel_sees(GetParam())) {
    EXPECT_EQ(support::word_of(*lock), heirlock::detail::owner_died_bit);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
  } else {
    EXPECT_EQ(support::word_of(*lock), held);
    EXPECT_EQ(lock->acquire_for(Waiter::patience), AcquireResult::inherited);
  }
}

// Spec: lock.inherit.sleeper, lock.inherit.flag, lock.inherit.depth, lock.inherit.exec
TEST_P(OwnerDeath, lets_all_sleepers_inherit_at_depth_1) {
  DyingOwner owner(GetParam(), acquire(3));
  Waiter first(*lock, needed_backstop());
  Waiter second(*lock, needed_backstop());
  Waiter third(*lock, needed_backstop());
  owner.die();
  EXPECT_EQ(first.result(), AcquireResult::inherited);
  EXPECT_EQ(second.result(), AcquireResult::inherited);
  EXPECT_EQ(third.result(), AcquireResult::inherited);
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

// Spec: lock.release.untouched, lock.try.busy, lock.release.owner-only
TEST_F(MemoryThatIsNoLockAnyMore, is_left_alone_when_a_thread_dies) {
  expect_untouched_by_the_death_of_one_who_did([this] {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    Waiter waiter(*lock);
    lock->release();
    EXPECT_EQ(waiter.result(), AcquireResult::acquired);
  });
  support::set_word(*lock, 0);
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  expect_untouched_by_the_death_of_one_who_did([this] {
    EXPECT_THROW(lock->release(), heirlock::AssertionError);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
  });
  support::set_word(*lock, support::my_tid());  // to be released
}

// --- Owners that seem dead and are not, and the reverse

constexpr std::chrono::milliseconds several_slices{400};  // 50, 100, 200 and what is left

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

}  // namespace
