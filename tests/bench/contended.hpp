// Many parties and one lock.
#ifndef HEIRLOCK_TESTS_BENCH_CONTENDED_HPP
#define HEIRLOCK_TESTS_BENCH_CONTENDED_HPP

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"
#include "bench/system_calls.hpp"
#include "bench/work.hpp"
#include "support/histogram.hpp"
#include "support/shared_memory.hpp"

namespace bench {

// System calls are counted after the measured time, and free locks watched, since both make the parties
// slower.
enum class Phase : std::uint32_t { warm_up, measured, counted, watched, over };

// What a party writes, on cache lines of its own.
struct alignas(128) Account {
  std::atomic<std::uint64_t> operations{0};
  std::uint64_t counted_operations = 0;
  double system_calls = 0;
  Nanoseconds longest_wait = 0;
  Histogram waits;
  std::atomic<Nanoseconds> wants_since{0};  // 0: does not want the lock
  Histogram free_times;
};

// Written by who watches, and seldom: the parties read it each time, which costs them next to nothing.
struct Stage {
  alignas(128) std::atomic<Phase> phase{Phase::warm_up};
  std::atomic<std::uint32_t> tick{0};
  alignas(128) support::Gate ready, begin;
  // Under the lock: what a critical section is for. If the lock lets two in, increments are lost.
  alignas(128) volatile std::uint64_t guarded = 0;
  Nanoseconds freed = 0;  // when the last owner was about to release
};

// Which acquires are timed: one of 16 on the average, since two looks at the clock take longer than a fast
// acquire; at random, so that no rhythm of the parties decides which.
class Sample {
 public:
  explicit Sample(int index) : random_(static_cast<std::uint32_t>(index) + 1) {}
  bool takes_next() noexcept {
    if (--gap_ > 0) return false;
    gap_ = 1 + random_() % 31;
    return true;
  }

 private:
  std::minstd_rand random_;
  std::uint_fast32_t gap_ = 1;
};

// A clock that ticks every few milliseconds and costs its reader nothing. It finds the long waits of all
// acquires, of which a sample would miss the longest.
class Ticks {
 public:
  static constexpr Nanoseconds period = 4 * millisecond;

  Ticks(Stage& stage, Nanoseconds at_most)
      : stage_(stage), moments_(static_cast<std::size_t>(at_most / period) + 1) {}

  void tick() {
    if (last_ + 1 == moments_.size()) return;
    moments_[++last_] = now();
    stage_.tick.store(last_, std::memory_order_release);
  }
  /// Ticks for so long.
  void wait(Nanoseconds duration) {
    const Nanoseconds end = now() + duration;
    for (Nanoseconds moment = now(); moment < end; moment = now()) {
      tick();
      sleep_until(std::min(moment + period, end));
    }
  }
  /// The least that it can have been from a moment after tick `before` until one after tick `after`.
  Nanoseconds least_between(std::uint32_t before, std::uint32_t after) const {
    return moments_[after] - moments_[before + 1];
  }

 private:
  Stage& stage_;
  const Shared<Nanoseconds> moments_;
  std::uint32_t last_ = 0;
};

// What all do.
struct Load {
  const Work section, outside;
  const Ticks& ticks;
  const int tracepoint;
};

template <class Lock>
class Contender {
 public:
  Contender(Lock& lock, Stage& stage, const Shared<Account>& accounts, const Load& load, int index)
      : lock_(lock),
        stage_(stage),
        accounts_(accounts),
        account_(accounts[static_cast<std::size_t>(index)]),
        load_(load),
        sample_(index) {}

  void run() {
    stage_.ready.open();
    stage_.begin.wait();
    repeat_while(Phase::warm_up, [this] { operate(); });
    repeat_while(Phase::measured, [this] { sample_.takes_next() ? operate_timed() : operate(); });
    const std::uint64_t before = operations_;
    const SystemCallCount calls(load_.tracepoint);
    repeat_while(Phase::counted, [this] { operate(); });
    account_.system_calls = calls.read();
    account_.counted_operations = operations_ - before;
    repeat_while(Phase::watched, [this] { operate_watched(); });
  }

 private:
  template <class Operation>
  void repeat_while(Phase phase, Operation operation) {
    while (stage_.phase.load(std::memory_order_relaxed) == phase) {
      operation();
      account_.operations.store(++operations_, std::memory_order_relaxed);
      load_.outside();
    }
  }

  void operate() {
    operate([] {});
  }
  void operate_timed() {
    Nanoseconds inside = 0;
    const Nanoseconds before = now();
    operate([&] { inside = now(); });
    account_.waits.add(inside - before);
  }
  // How long the lock was free while somebody wanted it.
  void operate_watched() {
    account_.wants_since = now();
    under(lock_, [&] {
      const Nanoseconds inside = now();
      const Nanoseconds free = inside - std::max(stage_.freed, wanted_since(inside));
      account_.wants_since = 0;
      account_.free_times.add(free);
      stage_.guarded = stage_.guarded + 1;
      load_.section();
      stage_.freed = now();
    });
  }
  // To ask all takes time: for what the lock's own hand-over may have taken, the caller's arrival is enough.
  Nanoseconds wanted_since(Nanoseconds inside) const {
    constexpr Nanoseconds hand_over = 10'000;
    Nanoseconds first = account_.wants_since;
    if (inside - stage_.freed < hand_over) return first;
    for (std::size_t i = 0; i < accounts_.size(); ++i)
      if (const Nanoseconds since = accounts_[i].wants_since; since != 0) first = std::min(first, since);
    return first;
  }
  template <class Arrival>
  void operate(Arrival arrive) {
    const std::uint32_t before = stage_.tick.load(std::memory_order_relaxed);
    std::uint32_t inside = 0;
    under(lock_, [&] {
      arrive();
      inside = stage_.tick.load(std::memory_order_acquire);
      stage_.guarded = stage_.guarded + 1;
      load_.section();
    });
    if (inside > before + 1)
      account_.longest_wait = std::max(account_.longest_wait, load_.ticks.least_between(before, inside));
  }

  Lock& lock_;
  Stage& stage_;
  const Shared<Account>& accounts_;
  Account& account_;
  const Load& load_;
  Sample sample_;
  std::uint64_t operations_ = 0;
};

// How far all have come at one moment.
struct Standing {
  Nanoseconds moment;
  Nanoseconds processor_time;
  std::vector<std::uint64_t> operations;
};

inline Standing look_at(const Parties& parties, const Shared<Account>& accounts) {
  Standing standing{now(), parties.processor_time(), {}};
  for (std::size_t i = 0; i < accounts.size(); ++i) standing.operations.push_back(accounts[i].operations);
  return standing;
}

inline double ratio(double a, double b) {
  return b > 0 ? a / b : NAN;
}

inline Values values_of(const Standing& begin, const Standing& end, const Shared<Account>& accounts) {
  Histogram waits, free_times;
  std::uint64_t operations = 0, counted_operations = 0;
  double system_calls = 0;
  std::uint64_t fewest = UINT64_MAX, most = 0;
  Nanoseconds longest_wait = 0;
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    const std::uint64_t share = end.operations[i] - begin.operations[i];
    operations += share;
    fewest = std::min(fewest, share);
    most = std::max(most, share);
    waits.add(accounts[i].waits);
    free_times.add(accounts[i].free_times);
    longest_wait = std::max(longest_wait, accounts[i].longest_wait);
    counted_operations += accounts[i].counted_operations;
    system_calls += accounts[i].system_calls;
  }
  const auto all = static_cast<double>(operations);
  const auto nanoseconds = static_cast<double>(end.moment - begin.moment);
  const auto processor_time = static_cast<double>(end.processor_time - begin.processor_time);
  return {{"operations_per_second", ratio(all * static_cast<double>(second), nanoseconds)},
          {"cpu_ns_per_operation", ratio(processor_time, all)},
          {"syscalls_per_operation", ratio(system_calls, static_cast<double>(counted_operations))},
          {"fairness", ratio(static_cast<double>(fewest), static_cast<double>(most))},
          {"wait_p50_ns", waits.quantile(0.5)},
          {"wait_p99_ns", waits.quantile(0.99)},
          {"wait_max_ns", std::fmax(waits.longest(), static_cast<double>(longest_wait))},
          {"free_p50_ns", free_times.quantile(0.5)},
          {"free_p99_ns", free_times.quantile(0.99)},
          {"free_p999_ns", free_times.quantile(0.999)},
          {"free_max_ns", free_times.longest()}};
}

template <class Lock>
Values contended(const Options& options) {
  const auto time = static_cast<Nanoseconds>(options.seconds * static_cast<double>(second));
  const Locks<Lock> lock;
  const Shared<Stage> stage;
  const Shared<Account> accounts(static_cast<std::size_t>(options.parties));
  const Nanoseconds warm_up = std::max(time / 10, 200 * millisecond);  // locks learn
  const Nanoseconds counted = std::max(time / 5, 20 * millisecond);
  const Nanoseconds watched = std::max(time / 2, 50 * millisecond);
  Ticks ticks(*stage, warm_up + time + counted + watched);
  const double speed = options.steps_per_microsecond;
  const Load load{Work(options.section, speed), Work(options.outside, speed), ticks,
                  system_call_tracepoint()};
  Parties parties(options.kind, options.parties,
                  [&](int index) { Contender<Lock>(lock[0], *stage, accounts, load, index).run(); });

  for (int index = 0; index < options.parties; ++index) stage->ready.wait();
  stage->begin.open(options.parties);
  ticks.wait(warm_up);
  const Standing begin = look_at(parties, accounts);
  stage->phase = Phase::measured;
  ticks.wait(time);
  const Standing end = look_at(parties, accounts);
  stage->phase = Phase::counted;
  ticks.wait(counted);
  stage->phase = Phase::watched;
  ticks.wait(watched);
  stage->phase = Phase::over;
  parties.join();

  std::uint64_t operations = 0;
  for (std::size_t i = 0; i < accounts.size(); ++i) operations += accounts[i].operations;
  if (stage->guarded != operations)
    fail("the lock let in two parties at once: of " + std::to_string(operations) +
         " increments made under it, " + std::to_string(stage->guarded) + " are left");
  return values_of(begin, end, accounts);
}

}  // namespace bench
#endif
