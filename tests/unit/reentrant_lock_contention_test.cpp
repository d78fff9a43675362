// Many at once: exclusion, visibility, and that every sleeper gets in.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"
#include "support/without_backstop.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::detail::waiters_bit;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using support::As;
using support::BetweenParties;
using support::Gate;
using support::InSharedMemory;
using support::LockWithoutBackstop;
using support::Party;
using support::set_word;
using support::word_of;

namespace {

INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

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

constexpr int parties_at_once = 4;
constexpr int rounds = 3000;

class Counted : public BetweenParties {
 protected:
  // Each party runs `round(number of its party)` many times; the guarded count must come out exact.
  template <class Round>
  void count_with(Round round, std::uint64_t counts_a_round = 1) {
    Parties parties;
    for (int number = 0; number < parties_at_once; ++number)
      parties.push_back(std::make_unique<Party>(GetParam(), [&, number] {
        start.wait();
        for (int i = 0; i < rounds; ++i) round(number);
      }));
    start.open(parties_at_once);
    join_all(parties);
    EXPECT_EQ(guarded->count, std::uint64_t{parties_at_once} * rounds * counts_a_round);
  }

  Gate start;
  InSharedMemory<Guarded> guarded;
};
INSTANTIATE_TEST_SUITE_P(As, Counted, support::each_kind_of_party, support::kind_name);

// Spec: lock.acquire.exclusion
TEST_P(Counted, no_two_parties_own_the_lock_at_once) {
  count_with([&](int) {
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    guarded->enter();
    lock->release();
  });
}

// Spec: lock.acquire.exclusion, lock.reentry.depth
TEST_P(Counted, no_two_parties_own_the_lock_at_once_when_they_nest) {
  count_with(
      [&](int) {
        EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
        guarded->enter();
        EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
        guarded->enter();
        lock->release();
        guarded->enter();
        lock->release();
      },
      3);
}

// Spec: lock.acquire.exclusion
TEST_P(Counted, no_two_parties_own_the_lock_at_once_when_they_try_in_loops) {
  count_with([&](int) {
    while (lock->try_acquire() == AcquireResult::not_acquired) sched_yield();
    guarded->enter();
    lock->release();
  });
}

// Spec: lock.acquire.exclusion
TEST_P(Counted, no_two_parties_own_the_lock_at_once_when_they_wait_in_every_way) {
  count_with([&](int number) {
    if (number == 0)
      while (lock->try_acquire() == AcquireResult::not_acquired) sched_yield();
    else if (number == 1)
      while (lock->acquire_for(microseconds(50)) == AcquireResult::not_acquired) continue;
    else
      static_cast<void>(lock->acquire());
    guarded->enter();
    lock->release();
  });
}

// Spec: lock.acquire.exclusion
TEST(BetweenThreadsOfProcesses, no_two_threads_own_the_lock_at_once) {
  constexpr int processes = 2, threads = 2;
  InSharedMemory<ReentrantLock> lock;
  InSharedMemory<Guarded> guarded;
  Gate start;
  Parties parties;
  for (int process = 0; process < processes; ++process)
    parties.push_back(std::make_unique<Party>(As::process, [&] {
      start.wait();
      std::vector<std::thread> crew;
      for (int thread = 0; thread < threads; ++thread)
        crew.emplace_back([&] {
          for (int i = 0; i < rounds; ++i) {
            EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
            EXPECT_EQ(lock->acquire(), AcquireResult::reentered);
            guarded->enter();
            lock->release();
            lock->release();
          }
        });
      for (std::thread& thread : crew) thread.join();
    }));
  start.open(processes);
  join_all(parties);
  EXPECT_EQ(guarded->count, std::uint64_t{processes} * threads * rounds);
}

// --- Visibility ---

// Plain memory that one owner fills with one number, and the next reads.
struct Page {
  std::array<std::uint64_t, 64> words{};

  void fill(std::uint64_t number) { words.fill(number); }
  bool holds(std::uint64_t number) const {
    return std::all_of(words.begin(), words.end(), [&](std::uint64_t word) { return word == number; });
  }
};

// Spec: lock.acquire.visibility
TEST_P(BetweenParties, each_owner_reads_what_the_former_one_wrote) {
  InSharedMemory<Page> page;
  InSharedMemory<std::uint64_t> turn;
  constexpr std::uint64_t turns = 2000;
  const auto play = [&](std::uint64_t first) {
    for (std::uint64_t mine = first; mine < turns;) {
      static_cast<void>(lock->acquire());
      if (*turn == mine) {
        ASSERT_TRUE(page->holds(mine));
        page->fill(mine + 1);
        ++*turn;
        mine += 2;
      }
      lock->release();
      sched_yield();
    }
  };
  Party even = other([&] { play(0); });
  Party odd = other([&] { play(1); });
}

// Spec: lock.acquire.visibility
TEST_P(BetweenParties, a_sleeper_reads_what_the_owner_wrote_before_it_released) {
  InSharedMemory<Page> page;
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_TRUE(page->holds(7));
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  page->fill(7);
  lock->release();
}

// The caller holds the lock, and its next contended release wakes all.
void acquire_and_be_about_to_wake_all(ReentrantLock& lock) {
  set_word(lock, waiters_bit);
  static_cast<void>(lock.acquire());
  lock.release();  // finds nobody asleep
  ASSERT_EQ(word_of(lock), waiters_bit);
  static_cast<void>(lock.acquire());
}

// Spec: lock.acquire.visibility
TEST_P(BetweenParties, a_sleeper_reads_what_the_owner_wrote_before_it_woke_all) {
  InSharedMemory<Page> page;
  acquire_and_be_about_to_wake_all(*lock);
  Party waiter = other([&] {
    static_cast<void>(lock->acquire());
    EXPECT_TRUE(page->holds(7));
    lock->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  page->fill(7);
  lock->release();
}

// --- Every sleeper gets in, without the backstop: who is not woken hangs, and the watchdog says so ---

class Sleepers : public testing::TestWithParam<std::tuple<As, int>> {
 protected:
  Sleepers() { support::forget_quiet_locks(); }

  // The caller holds the lock: all of them sleep when this returns.
  Parties asleep() {
    Parties parties;
    for (int i = 0; i < std::get<int>(GetParam()); ++i) {
      parties.push_back(std::make_unique<Party>(std::get<As>(GetParam()), [&] {
        EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
        ++*served;
        lock->release();
      }));
      parties.back()->wait_until_asleep_on(&*lock);
    }
    for (const auto& party : parties) party->wait_until_asleep_on(&*lock);
    return parties;
  }

  InSharedMemory<ReentrantLock> lock;
  InSharedMemory<int> served;
};
INSTANTIATE_TEST_SUITE_P(As, Sleepers,
                         testing::Combine(testing::Values(As::thread, As::process), testing::Values(2, 3, 8)),
                         [](const auto& tested) {
                           return testing::PrintToString(std::get<0>(tested.param)) + "_" +
                                  std::to_string(std::get<1>(tested.param));
                         });

// Spec: lock.acquire.progress
TEST_P(Sleepers, all_get_the_lock_when_a_release_wakes_one) {
  static_cast<void>(lock->acquire());
  const Parties sleepers = asleep();
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, std::get<int>(GetParam()));
}

// Spec: lock.acquire.progress
TEST_P(Sleepers, all_get_the_lock_when_a_release_wakes_all) {
  acquire_and_be_about_to_wake_all(*lock);
  const Parties sleepers = asleep();
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, std::get<int>(GetParam()));
}

// Spec: lock.acquire.progress
TEST_P(Sleepers, all_get_the_lock_when_one_that_never_slept_takes_it_first) {
  // Whoever is woken may find the lock taken again.
  static_cast<void>(lock->acquire());
  const Parties sleepers = asleep();
  for (int i = 0; i < 20; ++i) {
    lock->release();
    static_cast<void>(LockWithoutBackstop(*lock).acquire());
  }
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, std::get<int>(GetParam()));
}

// Spec: lock.acquire.progress
TEST_P(Sleepers, all_get_the_lock_though_a_timed_waiter_among_them_gives_up) {
  static_cast<void>(lock->acquire());
  const Parties sleepers = asleep();
  Party(std::get<As>(GetParam()), [&] {
    EXPECT_EQ(lock->acquire_for(milliseconds(5)), AcquireResult::not_acquired);
  }).join();
  lock->release();
  join_all(sleepers);
  EXPECT_EQ(*served, std::get<int>(GetParam()));
}

// Spec: lock.acquire.progress
TEST_P(BetweenParties, a_wake_up_that_reaches_a_waiter_whose_time_is_over_is_not_lost) {
  // A timed waiter sleeps, then an untimed one, and the lock is released about when the former's time is
  // over: it is woken, and finds on running that it is too late. Nobody else comes to wake the latter.
  constexpr int times = 100;
  InSharedMemory<std::atomic<steady_clock::time_point>> deadline;
  Gate timed_may, timed_has, untimed_may, untimed_has;
  Party timed = other([&] {
    for (int i = 0; i < times; ++i) {
      timed_may.wait();
      *deadline = steady_clock::now() + milliseconds(4);
      // Not acquire_until(), whose last look at its own clock is one more try, and would mend the loss.
      const auto timeout = deadline->load() - steady_clock::now();
      if (lock->acquire_for(timeout) != AcquireResult::not_acquired) lock->release();
      timed_has.open();
    }
  });
  Party untimed = other([&] {
    for (int i = 0; i < times; ++i) {
      untimed_may.wait();
      EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
      lock->release();
      untimed_has.open();
    }
  });
  for (int i = 0; i < times; ++i) {
    static_cast<void>(lock->acquire());
    *deadline = steady_clock::time_point::max();
    timed_may.open();
    while (!support::is_asleep_on(timed.tid(), &*lock) && steady_clock::now() < deadline->load()) continue;
    untimed_may.open();
    untimed.wait_until_asleep_on(&*lock);
    const auto about = microseconds(10 * (i % 10) - 30);  // the kernel's timers are some 50 late
    while (steady_clock::now() < deadline->load() + about) continue;
    lock->release();
    timed_has.wait();
    untimed_has.wait();
  }
}

// Spec: lock.acquire.progress
TEST_P(Counted, a_crowd_strands_nobody) {
  count_with([&](int) {
    EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
    guarded->enter();
    lock->release();
  });
}

// Spec: lock.acquire.progress
TEST_P(Counted, a_crowd_of_which_some_hold_the_lock_for_long_strands_nobody) {
  count_with([&](int number) {
    EXPECT_EQ(LockWithoutBackstop(*lock).acquire(), AcquireResult::acquired);
    guarded->enter();
    if (number == 0) sched_yield();
    lock->release();
  });
}

}  // namespace
