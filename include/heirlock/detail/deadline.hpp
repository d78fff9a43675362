// From what a caller gives as a timeout to a moment on CLOCK_MONOTONIC.
#ifndef HEIRLOCK_DETAIL_DEADLINE_HPP
#define HEIRLOCK_DETAIL_DEADLINE_HPP

#include <chrono>
#include <cmath>
#include <cstdint>
#include <ratio>
#include <type_traits>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock {
inline namespace v0_1 {
namespace detail {

__extension__ typedef __int128 WideInteger;  // holds any 64-bit count of any period

[[noreturn]] void throw_not_a_number();

/// A duration in nanoseconds, of a type in which no duration overflows.
template <class Rep, class Period>
auto wide_nanoseconds_of(std::chrono::duration<Rep, Period> timeout) {
  using Tick = std::ratio_divide<Period, std::nano>;
  if constexpr (std::is_integral_v<Rep> && Tick::den == 1)
    return WideInteger{timeout.count()} * Tick::num;
  else
    return std::chrono::duration<long double, std::nano>(timeout).count();
}

/// Whole nanoseconds, rounded up so that no wait ends early; at most `for_ever`, at least 0.
/// Throws std::invalid_argument on NaN.
template <class Wide>
std::int64_t whole_nanoseconds_of(Wide nanoseconds) {
  if constexpr (std::is_floating_point_v<Wide>) {
    if (std::isnan(nanoseconds)) throw_not_a_number();
    nanoseconds = std::ceil(nanoseconds);
  }
  if (nanoseconds <= 0) return 0;
  if (nanoseconds >= LinuxPlatform::for_ever) return LinuxPlatform::for_ever;
  return static_cast<std::int64_t>(nanoseconds);
}

template <class Rep, class Period>
std::int64_t nanoseconds_of(std::chrono::duration<Rep, Period> timeout) {
  return whole_nanoseconds_of(wide_nanoseconds_of(timeout));
}

/// Takes the lock, waiting at least for `nanoseconds`. The clock is asked only when one has to wait.
inline Outcome acquire_for(LinuxLock& lock, std::int64_t nanoseconds) noexcept {
  using Algorithm = LockAlgorithm<LinuxPlatform>;
  const Outcome at_once = Algorithm::acquire(lock, LinuxPlatform::no_wait);
  if (at_once != Outcome::not_acquired || nanoseconds <= 0) return at_once;
  return Algorithm::acquire(lock, LinuxPlatform::deadline_after(nanoseconds));
}

}  // namespace detail
}  // namespace v0_1
}  // namespace heirlock
#endif
