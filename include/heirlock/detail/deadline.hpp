// From what a caller gives as a timeout to a moment on CLOCK_MONOTONIC.
#ifndef HEIRLOCK_DETAIL_DEADLINE_HPP
#define HEIRLOCK_DETAIL_DEADLINE_HPP

#include <chrono>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock::detail {

/// A duration in nanoseconds, rounded up so that no wait ends early; at most `for_ever`, at least 0.
/// Throws std::invalid_argument on NaN.
template <class Rep, class Period>
std::int64_t nanoseconds_of(std::chrono::duration<Rep, Period> timeout) {
  // Floating point holds any duration without overflow. It is exact for 104 days of nanoseconds at least.
  const long double nanoseconds = std::chrono::duration<long double, std::nano>(timeout).count();
  if (std::isnan(nanoseconds))
    throw std::invalid_argument(
        "heirlock: found a timeout that is not a number, expected a duration; give one, or no timeout to "
        "wait for ever");
  if (nanoseconds <= 0) return 0;
  if (nanoseconds >= 9.2e18L) return LinuxPlatform::for_ever;
  return static_cast<std::int64_t>(std::ceil(nanoseconds));
}

/// The moment that lies `nanoseconds` ahead, by CLOCK_MONOTONIC.
LinuxPlatform::Deadline deadline_after(std::int64_t nanoseconds) noexcept;

}  // namespace heirlock::detail
#endif
