// Timed acquires: never early, over soon after, whatever the duration's type and whatever the clock.
#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <stdexcept>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using std::chrono::duration;
using std::chrono::high_resolution_clock;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;
using std::chrono::time_point;
using support::As;
using support::BetweenParties;
using support::bytes_of;
using support::InSharedMemory;
using support::LockBytes;
using support::my_tid;
using support::Party;
using support::word_of;

namespace {

// Nanoseconds that neither overflow nor round.
using Exact = duration<long double, std::nano>;

Exact monotonic_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

// A lock that the test's own thread holds, while other parties want it.
class OfABusyLock : public BetweenParties {
 protected:
  OfABusyLock() { static_cast<void>(lock->acquire()); }
  ~OfABusyLock() override {
    if (lock->is_owned()) lock->release();
  }

  template <class Duration>
  void expect_no_early_end(Duration timeout) {
    other([&] {
      const Exact start = monotonic_now();
      EXPECT_EQ(lock->acquire_for(timeout), AcquireResult::not_acquired);
      EXPECT_GE((monotonic_now() - start).count(), Exact(timeout).count());
    }).join();
  }

  template <class Duration>
  void expect_to_wait_until_released(Duration timeout) {
    Party waiter = other([&] {
      EXPECT_EQ(lock->acquire_for(timeout), AcquireResult::acquired);
      lock->release();
    });
    waiter.wait_until_asleep_on(&*lock);
    lock->release();
    waiter.join();
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  }

  template <class TimePoint>
  void expect_to_wait_until_released_by(TimePoint deadline) {
    Party waiter = other([&] {
      EXPECT_EQ(lock->acquire_until(deadline), AcquireResult::acquired);
      lock->release();
    });
    waiter.wait_until_asleep_on(&*lock);
    lock->release();
    waiter.join();
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  }

  // To try once and not wait is to leave no mark of a waiter in the word, too.
  template <class Acquire>
  void expect_one_try(Acquire acquire) {
    other([&] { EXPECT_EQ(acquire(), AcquireResult::not_acquired); }).join();
    EXPECT_EQ(word_of(*lock), my_tid());
  }
};
INSTANTIATE_TEST_SUITE_P(As, OfABusyLock, support::each_kind_of_party, support::kind_name);

// --- Never early ---

// Spec: lock.timeout.not-early
TEST_P(OfABusyLock, a_timeout_of_any_type_is_not_early) {
  expect_no_early_end(milliseconds(1));
  expect_no_early_end(milliseconds(17));
  expect_no_early_end(microseconds(1999));
  expect_no_early_end(nanoseconds(1));
  expect_no_early_end(nanoseconds(1'234'567));
  expect_no_early_end(duration<double>(0.0031));
  expect_no_early_end(duration<float>(0.0031F));
  expect_no_early_end(duration<long double>(0.0031L));
  expect_no_early_end(duration<float, minutes::period>(0.00005F));
  expect_no_early_end(duration<int, std::ratio<1, 300>>(1));
  expect_no_early_end(milliseconds(170));  // longer than the first sleeps, of 50 and 100
}

// Spec: lock.timeout.not-early, lock.timeout.nonpositive
TEST(Timeout, in_nanoseconds_is_exact_or_rounded_up) {
  using heirlock::detail::nanoseconds_of;
  EXPECT_EQ(nanoseconds_of(duration<double, std::nano>(0.25)), 1);
  EXPECT_EQ(nanoseconds_of(duration<double, std::nano>(7.25)), 8);
  EXPECT_EQ(nanoseconds_of(duration<int, std::pico>(1000)), 1);
  EXPECT_EQ(nanoseconds_of(duration<int, std::pico>(1001)), 2);
  EXPECT_EQ(nanoseconds_of(nanoseconds(9'007'199'254'740'993)), 9'007'199'254'740'993);  // 2^53 + 1
  EXPECT_EQ(nanoseconds_of(microseconds(9'007'199'254'741)), 9'007'199'254'741'000);
  EXPECT_EQ(nanoseconds_of(hours(2'000'000)), std::int64_t{7'200'000'000} * 1'000'000'000);
  EXPECT_EQ(nanoseconds_of(nanoseconds(-1)), 0);
  EXPECT_EQ(nanoseconds_of(hours::min()), 0);
  EXPECT_EQ(nanoseconds_of(duration<double>(-1e300)), 0);
}

// --- Nothing to wait for ---

// Spec: lock.timeout.nonpositive
TEST_P(OfABusyLock, a_timeout_of_zero_or_less_tries_once) {
  expect_one_try([&] { return lock->acquire_for(hours(0)); });
  expect_one_try([&] { return lock->acquire_for(duration<double>(-0.0)); });
  expect_one_try([&] { return lock->acquire_for(nanoseconds(-1)); });
  expect_one_try([&] { return lock->acquire_for(duration<double>(-1e-300)); });
  expect_one_try([&] { return lock->acquire_for(hours::min()); });
  expect_one_try([&] { return lock->acquire_for(duration<double>(-1e300)); });
  expect_one_try(
      [&] { return lock->acquire_for(duration<double>(-std::numeric_limits<double>::infinity())); });
}

// Spec: lock.timeout.nonpositive
TEST_P(OfABusyLock, a_deadline_that_has_passed_tries_once) {
  expect_one_try([&] { return lock->acquire_until(steady_clock::now()); });
  expect_one_try([&] { return lock->acquire_until(system_clock::now() - hours(1)); });
  expect_one_try([&] { return lock->acquire_until(steady_clock::time_point::min()); });
  expect_one_try([&] { return lock->acquire_until(system_clock::time_point::min()); });
  expect_one_try([&] { return lock->acquire_until(time_point<system_clock, hours>::min()); });
}

// --- For ever ---

// Spec: lock.timeout.huge, lock.acquire.blocking
TEST_P(OfABusyLock, a_timeout_too_large_to_count_waits) {
  expect_to_wait_until_released(nanoseconds::max());
  expect_to_wait_until_released(hours::max());
  expect_to_wait_until_released(duration<std::uint64_t>::max());
  expect_to_wait_until_released(duration<double>(1e300));
  expect_to_wait_until_released(duration<float>(std::numeric_limits<float>::max()));
  expect_to_wait_until_released(duration<long double>::max());
  expect_to_wait_until_released(duration<float, std::nano>(std::numeric_limits<float>::infinity()));
  expect_to_wait_until_released(nanoseconds(9'199'999'999'999'999'999));
  expect_to_wait_until_released(nanoseconds(9'200'000'000'000'000'001));
}

// Spec: lock.timeout.huge, lock.acquire.blocking
TEST_P(OfABusyLock, the_latest_deadline_of_any_clock_waits) {
  expect_to_wait_until_released_by(system_clock::now() + minutes(1));
  expect_to_wait_until_released_by(steady_clock::time_point::max());
  expect_to_wait_until_released_by(system_clock::time_point::max());
  expect_to_wait_until_released_by(time_point<system_clock, hours>::max());
  expect_to_wait_until_released_by(time_point<steady_clock, duration<double>>::max());
}

// --- Not a number ---

template <class Float>
constexpr Float not_a_number = std::numeric_limits<Float>::quiet_NaN();

// Whether the lock is another's, free, or the caller's.
// Spec: lock.timeout.nan
TEST_P(OfABusyLock, not_a_number_throws_and_changes_no_byte) {
  const LockBytes before = bytes_of(*lock);
  const time_point<steady_clock, duration<double>> never{duration<double>(not_a_number<double>)};
  const auto expect_refusals_of = [&](ReentrantLock& tried) {
    EXPECT_THROW(static_cast<void>(tried.acquire_for(duration<double>(not_a_number<double>))),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(tried.acquire_for(duration<float, std::milli>(not_a_number<float>))),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(tried.acquire_until(never)), std::invalid_argument);
  };
  other([&] {
    expect_refusals_of(*lock);
    ReentrantLock own;
    expect_refusals_of(own);
    EXPECT_FALSE(own.is_owned());
    static_cast<void>(own.acquire());
    expect_refusals_of(own);
    EXPECT_EQ(own.depth(), 1U);
    own.release();
  }).join();
  EXPECT_EQ(bytes_of(*lock), before);
}

// --- Every clock ---

// A second of it takes four of ours.
struct SlowClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SlowClock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() noexcept { return time_point(steady_clock::now().time_since_epoch() / 4); }
};

// Counts in fractions.
struct FractionClock {
  using duration = std::chrono::duration<float>;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<FractionClock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() noexcept {
    static const steady_clock::time_point start = steady_clock::now();
    return time_point(steady_clock::now() - start);
  }
};

// Moves once in 20 milliseconds.
struct CoarseClock {
  using duration = std::chrono::duration<int, std::ratio<1, 50>>;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<CoarseClock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() noexcept {
    return time_point(std::chrono::duration_cast<duration>(steady_clock::now().time_since_epoch()));
  }
};

template <class Clock, class Wait>
void expect_the_deadline_to_pass(ReentrantLock& lock, Wait wait) {
  const auto deadline = Clock::now() + wait;
  EXPECT_EQ(lock.acquire_until(deadline), AcquireResult::not_acquired);
  EXPECT_GE(Clock::now(), deadline);
}

// Spec: lock.timeout.clock, lock.timeout.ends
TEST_P(OfABusyLock, no_wait_is_early_on_any_clock) {
  other([&] {
    for (const milliseconds wait : {milliseconds(1), milliseconds(9), milliseconds(60)}) {
      expect_the_deadline_to_pass<steady_clock>(*lock, wait);
      expect_the_deadline_to_pass<system_clock>(*lock, wait);
      expect_the_deadline_to_pass<high_resolution_clock>(*lock, wait);
    }
    expect_the_deadline_to_pass<SlowClock>(*lock, milliseconds(7));
    expect_the_deadline_to_pass<FractionClock>(*lock, milliseconds(7));
    expect_the_deadline_to_pass<CoarseClock>(*lock, CoarseClock::duration(1));
    expect_the_deadline_to_pass<CoarseClock>(*lock, duration<double, std::pico>(0.5));  // finer than it
  }).join();
}

// Shows what the test sets it to, to all parties.
struct SetClock {
  using duration = milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SetClock>;
  [[maybe_unused]] static constexpr bool is_steady = false;
  struct Face {
    std::atomic<rep> shows{1000};
    std::atomic<int> readings{0};
  };
  static Face* face;
  static time_point now() noexcept {
    ++face->readings;
    return time_point(duration(face->shows));
  }
};
SetClock::Face* SetClock::face;

class OnASetClock : public OfABusyLock {
 protected:
  OnASetClock() { SetClock::face = &*face; }

  // Waits for the party to look at the clock again and again, or to give up, which it must not.
  void let_it_look(int times) {
    const int before = face->readings;
    while (face->readings < before + times && !*given_up) sched_yield();
  }
  Party waiter(milliseconds until = milliseconds(1002)) {
    return other([this, until] {
      const SetClock::time_point deadline(until);
      EXPECT_EQ(lock->acquire_until(deadline), AcquireResult::not_acquired);
      *given_up = true;
      EXPECT_GE(SetClock::now(), deadline);
    });
  }

  InSharedMemory<SetClock::Face> face;
  InSharedMemory<std::atomic<bool>> given_up;
};
INSTANTIATE_TEST_SUITE_P(As, OnASetClock, support::each_kind_of_party, support::kind_name);

// Spec: lock.timeout.clock
TEST_P(OnASetClock, standing_or_set_back_keeps_the_waiter_waiting) {
  Party party = waiter();
  let_it_look(3);
  face->shows = 990;
  let_it_look(3);
  EXPECT_FALSE(*given_up);
  face->shows = 1002;
}

// Within a second, or the watchdog ends the test.
// Spec: lock.timeout.clock-set
TEST_P(OnASetClock, set_forward_ends_the_wait) {
  const milliseconds deadline = milliseconds(1000) + hours(1);
  Party party = waiter(deadline);
  let_it_look(1);
  face->shows = deadline.count();
}

// Spec: lock.timeout.clock
TEST_P(OnASetClock, standing_lets_the_waiter_get_the_lock) {
  Party party = other([&] {
    EXPECT_EQ(lock->acquire_until(SetClock::time_point(milliseconds(1002))), AcquireResult::acquired);
    *given_up = true;
    lock->release();
  });
  let_it_look(3);
  lock->release();
}

// --- try_lock_for and try_lock_until ---

// Spec: lockable.guards, lock.timeout.not-early, lock.timeout.clock
TEST_P(OfABusyLock, try_lock_for_and_until_are_not_early) {
  other([&] {
    const Exact start = monotonic_now();
    EXPECT_FALSE(lock->try_lock_for(microseconds(3500)));
    EXPECT_GE(monotonic_now() - start, microseconds(3500));
    const auto deadline = SlowClock::now() + milliseconds(2);
    EXPECT_FALSE(lock->try_lock_until(deadline));
    EXPECT_GE(SlowClock::now(), deadline);
  }).join();
}

}  // namespace
