// What heirlock-bench-parties is asked, and what it answers.
#ifndef HEIRLOCK_TESTS_BENCH_OPTIONS_HPP
#define HEIRLOCK_TESTS_BENCH_OPTIONS_HPP

#include <string>
#include <utility>
#include <vector>

#include "bench/party.hpp"
#include "support/clock.hpp"

namespace bench {

struct Options {
  std::string measured;  // the case
  std::string lock;
  Kind kind = Kind::processes;
  int parties = 2;
  Nanoseconds section = 0;
  Nanoseconds outside = 0;
  double steps_per_microsecond = 0;  // of Work
  double seconds = 0.3;
  int times = 0;       // as many as the case likes
  std::string pinned;  // same, apart, or empty: wherever the system puts the parties
};

/// What is not finite could not be measured.
using Values = std::vector<std::pair<const char*, double>>;

}  // namespace bench
#endif
