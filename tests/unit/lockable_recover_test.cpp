// What happens when the owner of a Lockable dies: the next to acquire recovers.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>

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
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 0) << "nobody has died";
  die_holding(object, As::process, 3);
  object.on_recover = [&] {
    EXPECT_EQ(object.mutex().depth(), 1U);
    EXPECT_TRUE(object.mutex().needs_repair());
  };
  acquire_and_release();
  acquire_and_release();
  EXPECT_EQ(object.recoveries(), 1);
  EXPECT_FALSE(object.mutex().needs_repair());
}

// Spec: lockable.recover.throws
TEST_P(EachWayToAcquire, passes_on_what_recover_throws_and_recovers_again) {
  die_holding(object);
  object.on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(acquire_and_release(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
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
  die_holding(object, GetParam());
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
TEST_P(RecoverBetweenParties, a_waiter_recovers_when_anothers_recover_throws) {
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
TEST_P(RecoverBetweenParties, an_acquire_during_a_recovery_does_not_recover) {
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

// Spec: lockable.recover.throws
TEST(Recover, that_throws_frees_the_lock_from_any_depth) {
  Guarded object;
  die_holding(object);
  const std::function<void()> failures[] = {
      [&] {
        object.acquire();
        object.acquire();
        throw std::domain_error("beyond repair");
      },
      [&] { object.locked([] { throw std::domain_error("beyond repair"); }); }};
  for (const auto& failure : failures) {
    object.on_recover = failure;
    EXPECT_THROW(object.acquire(), std::domain_error);
    EXPECT_EQ(object.mutex().owner(), 0);
    EXPECT_TRUE(object.mutex().needs_repair());
  }
}

// Spec: lockable.recover.throws
TEST(Recover, that_gave_up_leaves_the_next_owner_alone) {
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

// What it threw matters more than that there is nothing left to give back.
// Spec: lockable.recover.throws
TEST(Recover, that_gives_up_the_lock_is_told_so) {
  Guarded object;
  die_holding(object);
  object.on_recover = [&] { object.release(); };
  EXPECT_THROW(object.acquire(), heirlock::AssertionError);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
  object.on_recover = [&] {
    object.release();
    throw std::domain_error("beyond repair");
  };
  EXPECT_THROW(object.acquire(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_TRUE(object.mutex().needs_repair());
}

}  // namespace
