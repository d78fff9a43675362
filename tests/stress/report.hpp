// The result of a run, and its report.
#ifndef HEIRLOCK_TESTS_STRESS_REPORT_HPP
#define HEIRLOCK_TESTS_STRESS_REPORT_HPP

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "stress/faults.hpp"
#include "stress/watch.hpp"
#include "support/histogram.hpp"

namespace stress {

struct Result {
  bool interrupted = false;
  std::string ended_early;  // why, if it did so without being interrupted
  Nanoseconds elapsed = 0;
  double seconds_asked = 0;
  std::uint64_t operations = 0;
  Faults asked = only(Fault::kill);
  std::array<std::uint64_t, fault_kinds> faults{};   // that took place
  std::array<std::uint64_t, fault_kinds> planned{};  // until the end of the run
  std::uint64_t inherited = 0;
  // What the heirs did with the transfer that was under way.
  std::uint64_t finished = 0;
  std::uint64_t undone = 0;
  std::uint64_t none_under_way = 0;
  std::uint64_t timed_out = 0;
  SmallHistogram waits;
  Nanoseconds longest_wait = 0;
  Nanoseconds longest_wait_while_free = 0;
  std::int64_t money_lost = 0;
  Nanoseconds stranded_after = 2 * second;
  std::uint64_t stranded_waiters = 0;
  std::array<std::uint64_t, obstacles> stranded_behind{};
  std::uint64_t locks_lost = 0;  // could not be acquired after all threads had ended
  std::uint64_t wrong_owners = 0;
  std::vector<std::string> failures;  // of workers that ended by themselves

  bool passed() const {
    return money_lost == 0 && stranded_waiters == 0 && locks_lost == 0 && wrong_owners == 0 &&
           failures.empty();
  }
};

/// A line for each number, and the verdict.
std::string report(const Result& result);

}  // namespace stress
#endif
