// What is done inside a critical section, and outside.
#ifndef HEIRLOCK_TESTS_BENCH_WORK_HPP
#define HEIRLOCK_TESTS_BENCH_WORK_HPP

#include <algorithm>
#include <cstdint>
#include <limits>

#include "support/clock.hpp"

namespace bench {

using namespace support;  // its clock

/// Calculates for about so long. Not by looking at a clock: a party that loses its processor meanwhile still
/// has its work to do, as in a real program.
class Work {
 public:
  Work(Nanoseconds duration, double steps_per_microsecond)
      : steps_(
            static_cast<std::uint64_t>(static_cast<double>(duration) / 1000 * steps_per_microsecond + 0.5)) {}

  void operator()() const noexcept { calculate(steps_); }

  /// How fast this processor is. The fastest of many short runs is the one that nothing disturbed; yet one
  /// call and the next differ by some percent, as processors change their speed. So runs that are to be
  /// compared are given one speed.
  static double steps_per_microsecond() {
    constexpr std::uint64_t steps = 5'000;
    Nanoseconds fastest = std::numeric_limits<Nanoseconds>::max();
    for (int run = 0; run < 500; ++run) {
      const Nanoseconds start = now();
      calculate(steps);
      fastest = std::min(fastest, now() - start);
    }
    return 1000 * static_cast<double>(steps) / static_cast<double>(fastest);
  }

 private:
  // Each step needs the one before, and the compiler cannot see into them: none is left out or done at once.
  static void calculate(std::uint64_t steps) noexcept {
    std::uint64_t value = steps;
    for (; steps > 0; --steps) {
      value = value * 6364136223846793005U + 1;
      asm volatile("" : "+r"(value));
    }
  }

  std::uint64_t steps_;
};

}  // namespace bench
#endif
