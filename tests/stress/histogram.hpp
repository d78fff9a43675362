// How long the waits were: how many in each power of two of microseconds.
#ifndef HEIRLOCK_TESTS_STRESS_HISTOGRAM_HPP
#define HEIRLOCK_TESTS_STRESS_HISTOGRAM_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "stress/clock.hpp"

namespace stress {

/// The first range is below 1 us, each next one ends at twice the former's end, and the last has no end.
inline constexpr std::size_t wait_ranges = 26;

constexpr std::size_t range_of_wait(Nanoseconds wait) noexcept {
  std::size_t range = 0;
  for (Nanoseconds rest = wait / microsecond; rest > 0; rest /= 2) ++range;
  return std::min(range, wait_ranges - 1);
}

/// Where a range but the last ends.
constexpr Nanoseconds end_of_range(std::size_t range) noexcept {
  return microsecond << range;
}

using Histogram = std::array<std::uint64_t, wait_ranges>;

}  // namespace stress
#endif
