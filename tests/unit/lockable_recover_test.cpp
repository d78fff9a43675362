// What happens when the owner of a Lockable dies: the next to acquire recovers.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

#include "heirlock/lockable.hpp"
#include "support/between_parties.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/waiter.hpp"
#include "unit/guarded.hpp"

using heirlock::AcquireResult;
using heirlock::Lockable;
using heirlock::ReentrantLock;
using support::As;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using namespace std::chrono_literals;

namespace {

// --- Each way to acquire
// --------------------------------------------------------------------------------------

struct Way {
  const char* name;
  void (*acquire_and_release)(Guarded&);
};
std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << way.name;
}

void release_after(Guarded& object, bool got_it) {
  EXPECT_TRUE(got_it);
  object.release();
}

const Way ways[] = {
    {"acquire", [](Guarded& object) { release_after(object, object.acquire()); }},
    {"acquire_without_blocking", [](Guarded& object) { release_after(object, object.acquire(false)); }},
    {"acquire_with_a_timeout", [](Guarded& object) { release_after(object, object.acquire(true, 1h)); }},
    {"acquire_with_a_timeout_of_0", [](Guarded& object) { release_after(object, object.acquire(true, 0s)); }},
    {"acquire_with_nullopt",
     [](Guarded& object) { release_after(object, object.acquire(true, std::nullopt)); }},
    {"acquire_with_an_optional_timeout",
     [](Guarded& object) { release_after(object, object.acquire(true, std::optional(1h))); }},
    {"try_lock", [](Guarded& object) { release_after(object, object.try_lock()); }},
    {"try_lock_for", [](Guarded& object) { release_after(object, object.try_lock_for(1h)); }},
    {"try_lock_until",
     [](Guarded& object) {
       release_after(object, object.try_lock_until(std::chrono::steady_clock::now() + 1h));
     }},
    {"locked", [](Guarded& object) { object.locked([] {}); }},
    {"locked_in_a_const_method", [](Guarded& object) { std::as_const(object).locked([] {}); }},
    {"locked_method", [](Guarded& object) { heirlock::locked<&Guarded::recoveries>(object); }},
    {"lock_guard", [](Guarded& object) { const std::lock_guard hold(object); }},
    {"unique_lock", [](Guarded& object) { const std::unique_lock hold(object, std::try_to_lock); }},
    {"scoped_lock",
     [](Guarded& object) {
       Guarded another;
       const std::scoped_lock hold(another, object);
     }},
};

class EachWayToAcquire : public testing::TestWithParam<Way> {
 protected:
  void acquire_and_release() { GetParam().acquire_and_release(object); }

  Guarded object;
};
INSTANTIATE_TEST_SUITE_P(Ways, EachWayToAcquire, testing::ValuesIn(ways), support::kind_name);

// Spec: lockable.recover
TEST_P(EachWayToAcquire, recovers_once_after_a_death) {
  die_holding(object);
  acquire_and_release();
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 1);
}

// Spec: lockable.recover
TEST_P(EachWayToAcquire, recovers_with_the_lock_held_once_and_the_flag_set) {
  die_holding(object, As::process, 3);
  object.on_recover = [&] {
    EXPECT_EQ(object.mutex().depth(), 1U);
    EXPECT_TRUE(object.mutex().needs_repair());
  };
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 1);
}

// Spec: lockable.recover
TEST_P(EachWayToAcquire, leaves_the_flag_cleared) {
  die_holding(object);
  acquire_and_release();
  EXPECT_FALSE(object.mutex().needs_repair());
  EXPECT_EQ(object.mutex().acquire(), heirlock::AcquireResult::acquired);
  object.release();
}

// Spec: lockable.recover
TEST_P(EachWayToAcquire, recovers_nothing_without_a_death) {
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 0);
}

// Spec: lockable.recover.throws
TEST_P(EachWayToAcquire, passes_on_what_recover_throws) {
  die_holding(object);
  object.on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(acquire_and_release(), std::domain_error);
}

// Spec: lockable.recover.throws
TEST_P(EachWayToAcquire, frees_the_lock_with_its_flag_kept_when_recover_throws) {
  die_holding(object);
  object.on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(acquire_and_release(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// Spec: lockable.recover.throws
TEST_P(EachWayToAcquire, recovers_again_after_a_recover_that_threw) {
  die_holding(object);
  object.on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(acquire_and_release(), std::domain_error);
  object.on_recover = [] {};
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 2);
  EXPECT_FALSE(object.mutex().needs_repair());
}

// --- Each kind of owner that dies
// -----------------------------------------------------------------------------

class RecoverBetweenParties : public testing::TestWithParam<As> {
 protected:
  Guarded object;
};
INSTANTIATE_TEST_SUITE_P(As, RecoverBetweenParties, support::each_kind_of_party, support::kind_name);

// Spec: lockable.recover
TEST_P(RecoverBetweenParties, an_owner_that_ends_is_recovered_from) {
  die_holding(object, GetParam(), 2);
  object.acquire();
  EXPECT_EQ(object.recoveries(), 1);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// Spec: lockable.recover
TEST_P(RecoverBetweenParties, a_sleeping_waiter_recovers_before_its_acquire_returns) {
  Gate held;
  Party owner(As::process, [&] {
    object.acquire();
    held.open();
    Gate().wait();
  });
  held.wait();
  Party waiter(GetParam(), [&] {
    object.acquire();
    EXPECT_EQ(object.recoveries(), 1);
    EXPECT_FALSE(object.mutex().needs_repair());
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  owner.kill();
  waiter.join();
}

// Spec: lockable.recover
TEST_P(RecoverBetweenParties, others_wait_until_recover_has_ended) {
  die_holding(object);
  std::unique_ptr<Party> waiter;
  InSharedMemory<std::atomic<bool>> recovered{false};
  object.on_recover = [&] {
    waiter = std::make_unique<Party>(GetParam(), [&] {
      object.acquire();
      EXPECT_TRUE(*recovered);
      EXPECT_EQ(object.recoveries(), 1);
      object.release();
    });
    waiter->wait_until_asleep_on(&object.mutex());
    *recovered = true;
  };
  object.acquire();
  object.release();
  waiter->join();
}

// Spec: lockable.recover.throws
TEST_P(RecoverBetweenParties, a_waiter_gets_in_and_recovers_when_anothers_recover_throws) {
  die_holding(object);
  InSharedMemory<std::atomic<bool>> beyond_repair{true};
  std::unique_ptr<Party> waiter;
  object.on_recover = [&] {
    if (!*beyond_repair) return;
    waiter = std::make_unique<Party>(GetParam(), [&] {
      object.acquire();
      EXPECT_EQ(object.recoveries(), 2);
      EXPECT_EQ(object.mutex().depth(), 1U);
      object.release();
    });
    waiter->wait_until_asleep_on(&object.mutex());
    *beyond_repair = false;
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  waiter->join();
  EXPECT_FALSE(object.mutex().needs_repair());
}

// Spec: lock.try.busy
TEST_P(RecoverBetweenParties, an_acquire_that_finds_the_lock_busy_with_a_recovery_does_not_recover) {
  die_holding(object);
  object.on_recover = [&] { Party(GetParam(), [&] { EXPECT_FALSE(object.acquire(false)); }).join(); };
  object.acquire();
  EXPECT_EQ(object.recoveries(), 1);
  object.release();
}

// --- recover() itself
// -----------------------------------------------------------------------------------------

// Spec: lockable.recover
TEST(Recover, may_call_locked_methods) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] {
    object.increment();
    EXPECT_EQ(object.mutex().depth(), 1U);
  };
  object.acquire();
  EXPECT_EQ(object.recoveries(), 1);
  EXPECT_EQ(object.value(), 1);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// Spec: lockable.recover.default
TEST(Recover, throws_by_default_until_the_lock_is_repaired) {
  class Plain : public Lockable {
  } object;
  die_holding(object);
  for (int i = 0; i < 2; ++i) {
    const auto refusal = support::refusal_of([&] { object.locked([] { ADD_FAILURE() << "it ran"; }); });
    EXPECT_EQ(refusal.code, std::errc::owner_dead);
    EXPECT_TRUE(support::says(refusal.message, "recover() is not overridden", "an empty body"));
    EXPECT_EQ(object.mutex().owner(), 0);
    EXPECT_TRUE(object.mutex().needs_repair());
  }
  EXPECT_EQ(object.mutex().acquire(), heirlock::AcquireResult::inherited);
  object.mutex().repaired();
  object.release();
  EXPECT_TRUE(object.acquire());
  object.release();
}

// Spec: lock.acquire.progress
TEST(Recover, that_throws_wakes_a_sleeper) {
  Guarded object;
  die_holding(object);
  std::unique_ptr<support::Waiter> sleeper;
  object.on_recover = [&] {
    sleeper = std::make_unique<support::Waiter>(object.mutex());
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_EQ(sleeper->result(), heirlock::AcquireResult::inherited);
}

// Spec: lockable.recover.throws
TEST(Recover, that_throws_two_levels_deeper_than_it_began_still_frees_the_lock) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] {
    object.acquire();
    object.acquire();
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// Spec: lockable.recover.throws
TEST(Recover, that_throws_in_a_locked_method_of_its_own_frees_the_lock) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] { object.locked([] { throw std::domain_error("beyond repair"); }); };
  EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// The exception that it threw matters more than that there is nothing left to give back.
// Spec: lockable.recover.throws
TEST(Recover, that_gives_up_the_lock_and_throws_passes_its_own_exception_on) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] {
    object.release();
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// Spec: lockable.recover.throws
TEST(Recover, that_gives_up_the_lock_and_throws_leaves_the_next_owner_alone) {
  Guarded object;
  die_holding(object);
  Gate free, taken, thrown;
  Party next(As::thread, [&] {
    ReentrantLock& lock = object.mutex();
    free.wait();
    EXPECT_EQ(lock.acquire(), AcquireResult::acquired);
    EXPECT_EQ(lock.acquire(), AcquireResult::reentered);
    taken.open();
    thrown.wait();
    EXPECT_EQ(lock.depth(), 2U);
    EXPECT_FALSE(lock.needs_repair());
    while (lock.is_owned()) lock.release();
  });
  object.on_recover = [&] {
    object.mutex().repaired();
    object.release();
    free.open();
    taken.wait();
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  thrown.open();
}

// Spec: lockable.recover.throws
TEST(Recover, that_gives_up_the_lock_is_told_so_and_the_flag_is_kept) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] { object.release(); };
  EXPECT_THROW(object.acquire(), heirlock::AssertionError);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// Spec: lockable.recover.throws
TEST(Recover, runs_again_as_often_as_it_throws) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] {
    if (object.recoveries() <= 3) throw std::domain_error("not yet");
  };
  for (int i = 0; i < 3; ++i) EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_TRUE(object.acquire());
  EXPECT_EQ(object.recoveries(), 4);
  object.release();
}

// Spec: lockable.recover.throws
TEST(Recover, that_throws_keeps_the_body_of_a_locked_method_from_running) {
  Guarded object;
  die_holding(object);
  object.on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(object.increment(), std::domain_error);
  object.on_recover = [] {};
  EXPECT_EQ(object.value(), 0);
}

// Spec: lock.inherit.flag
TEST(Recover, that_is_cut_short_by_a_kill_runs_again_in_the_next_owner) {
  Guarded object;
  die_holding(object);
  Gate recovering;
  {
    Party first(As::process, [&] {
      object.on_recover = [&] {
        recovering.open();
        Gate().wait();
      };
      object.acquire();
    });
    recovering.wait();
    first.kill();
  }
  object.acquire();
  EXPECT_EQ(object.recoveries(), 2);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// --- What it is for
// -------------------------------------------------------------------------------------------

// Moves money between accounts in steps that other processes could see; recover() finishes what a kill cut
// short.
class Bank : public Lockable {
 public:
  enum Step { before_taking, before_giving, before_clearing, no_step };

  void transfer(int amount) {
    locked([&] {
      state_->pending = amount;
      at(before_taking);
      state_->source -= amount;
      state_->taken = true;
      at(before_giving);
      state_->destination += amount;
      state_->given = true;
      at(before_clearing);
      clear();
    });
  }
  int destination() {
    return locked([&] { return state_->destination; });
  }
  int total() {
    return locked([&] { return state_->source + state_->destination; });
  }
  int total_without_lock() const { return state_->source + state_->destination; }

  /// Where a transfer stops, and what it does there.
  Step stop_at = no_step;
  std::function<void()> stop;

 private:
  struct State {
    int source = 100;
    int destination = 0;
    int pending = 0;
    bool taken = false;
    bool given = false;
  };

  void at(Step step) {
    if (step == stop_at) stop();
  }
  void clear() {
    state_->pending = 0;
    state_->taken = state_->given = false;
  }
  void recover() override {
    locked([&] {
      if (!state_->taken) state_->source -= state_->pending;
      if (!state_->given) state_->destination += state_->pending;
      clear();
    });
  }

  heirlock::Shared<State> state_;
};

class RecoverFromEachStep : public testing::TestWithParam<Bank::Step> {};
INSTANTIATE_TEST_SUITE_P(Steps, RecoverFromEachStep,
                         testing::Values(Bank::before_taking, Bank::before_giving, Bank::before_clearing));

// Spec: lockable.recover
TEST_P(RecoverFromEachStep, finishes_a_transfer_that_a_kill_cut_short) {
  Bank bank;
  Gate half_way;
  {
    Party victim(As::process, [&] {
      bank.stop_at = GetParam();
      bank.stop = [&] {
        half_way.open();
        Gate().wait();
      };
      bank.transfer(30);
    });
    half_way.wait();
    victim.kill();
  }
  if (GetParam() == Bank::before_giving) {
    EXPECT_EQ(bank.total_without_lock(), 70) << "nothing was cut short";
  }
  EXPECT_EQ(bank.total(), 100);
  EXPECT_EQ(bank.destination(), 30);
}

}  // namespace
