// Many durations in little memory.
#ifndef HEIRLOCK_TESTS_SUPPORT_HISTOGRAM_HPP
#define HEIRLOCK_TESTS_SUPPORT_HISTOGRAM_HPP

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "support/clock.hpp"

namespace support {

/// Counts durations in ranges: 2^bits of them for each power of two. The longest is exact. Zero memory is an
/// empty histogram.
template <unsigned bits>
class HistogramOf {
 public:
  void add(Nanoseconds duration) noexcept {
    const auto value = static_cast<std::uint64_t>(std::max<Nanoseconds>(duration, 0));
    ++ranges_[range_of(value)];
    longest_ = std::max(longest_, value);
  }

  void add(const HistogramOf& other) noexcept {
    for (std::size_t range = 0; range < ranges_.size(); ++range) ranges_[range] += other.ranges_[range];
    longest_ = std::max(longest_, other.longest_);
  }

  std::uint64_t count() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t in_range : ranges_) sum += in_range;
    return sum;
  }

  /// The duration that this share of all does not exceed; NaN when there are none.
  double quantile(double share) const noexcept {
    const std::uint64_t all = count();
    if (all == 0) return NAN;
    const double wanted = share * static_cast<double>(all);
    std::uint64_t sum = 0;
    std::size_t range = 0;
    while (static_cast<double>(sum += ranges_[range]) < wanted) ++range;
    return std::min(middle_of(range), static_cast<double>(longest_));
  }

  double longest() const noexcept { return count() == 0 ? NAN : static_cast<double>(longest_); }

 private:
  // Below 2^bits, each number has a range of its own.
  static constexpr std::size_t steps = std::size_t{1} << bits;

  static unsigned magnitude_of(std::uint64_t value) noexcept {
    return value < steps ? 0 : 63U - static_cast<unsigned>(__builtin_clzll(value)) - bits;
  }
  static std::size_t range_of(std::uint64_t value) noexcept {
    const unsigned magnitude = magnitude_of(value);
    return magnitude * steps + static_cast<std::size_t>(value >> magnitude);
  }
  static double middle_of(std::size_t range) noexcept {
    if (range < 2 * steps) return static_cast<double>(range);
    const auto magnitude = static_cast<int>(range / steps - 1);
    return std::ldexp(static_cast<double>(range % steps + steps) + 0.5, magnitude);
  }

  std::array<std::uint64_t, (64 - bits + 1) * steps> ranges_{};
  std::uint64_t longest_ = 0;
};

using Histogram = HistogramOf<5>;       // to within 1.6 %, in 15 KB
using SmallHistogram = HistogramOf<2>;  // to within 13 %, in 2 KB

}  // namespace support
#endif
