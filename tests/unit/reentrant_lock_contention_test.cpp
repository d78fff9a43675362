// Many at once, as threads and as processes: exclusion, visibility, and that every sleeper gets in.
#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"
#include "support/without_backstop.hpp"

using heirlock::AcquireResult;
using heirlock::detail::waiters_bit;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using support::As;
using support::BetweenParties;
using support::Gate;
using support::InSharedMemory;
using support::LockWithoutBackstop;
using support::Party;
using support::set_word;
using support::word_of;

namespace {

using Parties = std::vector<std::unique_ptr<Party>>;

void join_all(const Parties& parties) {
  for (const auto& party : parties) party->join();
}

// --- Exclusion ---

// What two at once would spoil. Volatile, so that the compiler makes each access; it orders nothing.
struct Guarded {
  volatile std::uint64_t count = 0;
  volatile bool somebody_is_inside = false;

  void enter() {
    const bool alone = !somebody_is_inside;
    EXPECT_TRUE(alone);
    somebody_is_inside = true;
    count = count + 1;
    somebody_is_inside = false;
  }
};

// Without the backstop: who is not woken hangs, and the watchdog says so.
// Spec: lock.acquire.exclusion, lock.acquire.visibility, lock.acquire.progress
TEST_P(BetweenParties, a_crowd_loses_no_count_and_strands_nobody) {
  constexpr int parties_at_once = 4;
  constexpr int rounds = 3000;
  InSharedMemory<Guarded> guarded;
  Gate start;
  const auto acquire = [&](int number) {
    if (number == 0)
      while (lock->try_acquire() == AcquireResult::not_acquired) sched_yield();
    else if (number == 1)
      while (lock->acquire_for(microseconds(50)) == AcquireResult::not_acquired) continue;
    else
      EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
  };
  Parties parties;
  for (int number = 0; number < parties_at_once; ++number)
    parties.push_back(std::make_unique<Party>(GetParam(), [&, number] {
      start.wait();
      for (int i = 0; i < rounds; ++i) {
        acquire(number);
        guarded->enter();
        EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
        guarded->enter();
        if (number == 2) sched_yield();
        lock->release();
        guarded->enter();
        lock->release();
      }
    }));
  start.open(parties_at_once);
  join_all(parties);
  EXPECT_EQ(guarded->count, std::uint64_t{parties_at_once} * rounds * 3);
}

// --- Every sleeper gets in, likewise without the backstop ---

class Sleepers : public BetweenParties {
 protected:
  static constexpr int count = 3;

  // The caller holds the lock: all of them sleep when this returns.
  Parties asleep() {
    Parties parties;
    for (int i = 0; i < count; ++i) {
      parties.push_back(std::make_unique<Party>(GetParam(), [&] {
        EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
        ++*served;
        lock->release();
      }));
      parties.back()->wait_until_asleep_on(&*lock);
    }
    for (const auto& party : parties) party->wait_until_asleep_on(&*lock);
    return parties;
  }

  InSharedMemory<int> served;
};
INSTANTIATE_TEST_SUITE_P(As, Sleepers, support::each_kind_of_party, support::kind_name);

// Whoever is woken may find the lock taken again; and one that gives up must not take a wake-up with it.
// Spec: lock.acquire.progress
TEST_P(Sleepers, all_get_the_lock_behind_others) {
  static_cast<void>(lock->acquire());
  const Parties sleepers = asleep();
  Party(GetParam(), [&] {
    EXPECT_EQ(lock->acquire_for(milliseconds(5)), AcquireResult::not_acquired);
  }).join();
  for (int i = 0; i < 20; ++i) {
    lock->release();
    static_cast<void>(LockWithoutBackstop(*lock).acquire());
  }
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, count);
}

// Spec: lock.acquire.progress, lock.acquire.visibility
TEST_P(Sleepers, all_get_the_lock_from_one_release) {
  set_word(*lock, waiters_bit);
  static_cast<void>(lock->acquire());
  lock->release();  // finds nobody asleep, so that the next one wakes all
  ASSERT_EQ(word_of(*lock), waiters_bit);
  static_cast<void>(lock->acquire());
  const Parties sleepers = asleep();
  *served = 1;
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, 1 + count);
}

}  // namespace
