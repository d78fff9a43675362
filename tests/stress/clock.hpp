// Moments and durations of heirlock-stress: nanoseconds on CLOCK_MONOTONIC, which all processes share.
#ifndef HEIRLOCK_TESTS_STRESS_CLOCK_HPP
#define HEIRLOCK_TESTS_STRESS_CLOCK_HPP

#include <time.h>

#include <cstdint>

namespace stress {

using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds microsecond = 1'000;
inline constexpr Nanoseconds millisecond = 1'000'000;
inline constexpr Nanoseconds second = 1'000'000'000;

inline Nanoseconds now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * second + time.tv_nsec;
}

inline timespec as_timespec(Nanoseconds duration) noexcept {
  return {duration / second, duration % second};
}

inline double in_seconds(Nanoseconds duration) noexcept {
  return static_cast<double>(duration) / static_cast<double>(second);
}

}  // namespace stress
#endif
