// What is done inside a critical section, and outside.
#ifndef HEIRLOCK_TESTS_BENCH_WORK_HPP
#define HEIRLOCK_TESTS_BENCH_WORK_HPP

#include <algorithm>
#include <cstdint>
#include <limits>

#include "bench/clock.hpp"

namespace bench {

/// Calculates for about so long. Not by looking at a clock: a party that loses its processor meanwhile still
/// has its work to do, as in a real program.
class Work {
 public:
  explicit Work(Nanoseconds duration)
      : steps_(static_cast<std::uint64_t>(static_cast<double>(duration) / nanoseconds_of_step() + 0.5)) {}

  void operator()() const noexcept { calculate(steps_); }

 private:
  // Each step needs the one before, and the compiler cannot see into them: none is left out or done at once.
  static void calculate(std::uint64_t steps) noexcept {
    std::uint64_t value = steps;
    for (; steps > 0; --steps) {
      value = value * 6364136223846793005U + 1;
      asm volatile("" : "+r"(value));
    }
  }

  // The fastest of many short runs is the one that nothing disturbed.
  static double nanoseconds_of_step() {
    static const double result = [] {
      constexpr std::uint64_t steps = 20'000;
      Nanoseconds fastest = std::numeric_limits<Nanoseconds>::max();
      for (int run = 0; run < 50; ++run) {
        const Nanoseconds start = now();
        calculate(steps);
        fastest = std::min(fastest, now() - start);
      }
      return static_cast<double>(fastest) / static_cast<double>(steps);
    }();
    return result;
  }

  std::uint64_t steps_;
};

}  // namespace bench
#endif
