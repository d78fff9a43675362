// Moments and durations of the benchmarks: nanoseconds on CLOCK_MONOTONIC, which all processes share.
#ifndef HEIRLOCK_TESTS_BENCH_CLOCK_HPP
#define HEIRLOCK_TESTS_BENCH_CLOCK_HPP

#include <time.h>

#include <cstdint>

namespace bench {

using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds millisecond = 1'000'000;
inline constexpr Nanoseconds second = 1'000'000'000;

inline Nanoseconds as_nanoseconds(const timespec& time) noexcept {
  return time.tv_sec * second + time.tv_nsec;
}

inline timespec as_timespec(Nanoseconds duration) noexcept {
  return {duration / second, duration % second};
}

inline Nanoseconds read(clockid_t clock) noexcept {
  timespec time{};
  clock_gettime(clock, &time);
  return as_nanoseconds(time);
}

inline Nanoseconds now() noexcept {
  return read(CLOCK_MONOTONIC);
}

inline void sleep_until(Nanoseconds moment) noexcept {
  const timespec until = as_timespec(moment);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) continue;  // a signal
}

}  // namespace bench
#endif
