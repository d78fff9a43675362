// Moments and durations: nanoseconds on CLOCK_MONOTONIC, which all processes share.
#ifndef HEIRLOCK_TESTS_SUPPORT_CLOCK_HPP
#define HEIRLOCK_TESTS_SUPPORT_CLOCK_HPP

#include <time.h>

#include <cstdint>

namespace support {

using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds microsecond = 1'000;
inline constexpr Nanoseconds millisecond = 1'000'000;
inline constexpr Nanoseconds second = 1'000'000'000;

inline double in_seconds(Nanoseconds duration) noexcept {
  return static_cast<double>(duration) / static_cast<double>(second);
}

inline timespec as_timespec(Nanoseconds duration) noexcept {
  return {duration / second, duration % second};
}

inline Nanoseconds read(clockid_t clock) noexcept {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * second + time.tv_nsec;
}

inline Nanoseconds now() noexcept {
  return read(CLOCK_MONOTONIC);
}

inline void sleep_until(Nanoseconds moment) noexcept {
  const timespec until = as_timespec(moment);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) continue;  // a signal
}

}  // namespace support
#endif
