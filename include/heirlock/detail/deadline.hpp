// Turns a caller's timeout into a deadline on CLOCK_MONOTONIC.
#ifndef HEIRLOCK_DETAIL_DEADLINE_HPP
#define HEIRLOCK_DETAIL_DEADLINE_HPP

#include <chrono>
#include <cmath>
#include <cstdint>
#include <ratio>
#include <type_traits>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock::detail_v0_1 {

[[noreturn]] void throw_not_a_number();

/// The duration in nanoseconds, rounded up so that no wait ends early, and clamped to 0 .. `for_ever`.
/// Throws std::invalid_argument if it is NaN.
template <class Rep, class Period>
std::int64_t nanoseconds_of(std::chrono::duration<Rep, Period> timeout) {
  using Tick = std::ratio_divide<Period, std::nano>;
  if constexpr (std::is_integral_v<Rep> && Tick::den == 1) {
    std::int64_t nanoseconds = 0;
    if (timeout.count() <= 0) return 0;
    return __builtin_mul_overflow(timeout.count(), Tick::num, &nanoseconds) ? LinuxPlatform::for_ever
                                                                            : nanoseconds;
  } else {
    const long double nanoseconds = std::ceil(std::chrono::duration<long double, std::nano>(timeout).count());
    if (std::isnan(nanoseconds)) throw_not_a_number();
    if (nanoseconds <= 0) return 0;
    return nanoseconds >= 9.2e18L ? LinuxPlatform::for_ever : static_cast<std::int64_t>(nanoseconds);
  }
}

/// Acquires the lock, or gives up after `nanoseconds`. Reads the clock only if it has to wait.
inline Outcome acquire_for(LinuxLock& lock, std::int64_t nanoseconds) noexcept {
  using Algorithm = LockAlgorithm<LinuxPlatform>;
  const Outcome at_once = Algorithm::acquire(lock, LinuxPlatform::no_wait);
  if (at_once != heirlock_not_acquired || nanoseconds <= 0) return at_once;
  return Algorithm::acquire(lock, LinuxPlatform::deadline_after(nanoseconds));
}

}  // namespace heirlock::detail_v0_1
#endif
