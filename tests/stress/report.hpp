// What a run came to, for people and for programs.
#ifndef HEIRLOCK_TESTS_STRESS_REPORT_HPP
#define HEIRLOCK_TESTS_STRESS_REPORT_HPP

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "stress/clock.hpp"
#include "stress/faults.hpp"
#include "stress/histogram.hpp"
#include "stress/ledger.hpp"
#include "stress/options.hpp"
#include "stress/watch.hpp"

namespace stress {

struct Result {
  bool interrupted = false;
  std::string ended_early;  // why, when it did without being interrupted
  Nanoseconds elapsed = 0;
  double seconds_asked = 0;
  std::uint64_t operations = 0;
  std::uint64_t kills = 0;
  Faults asked = only(Fault::kill);
  std::array<std::uint64_t, fault_kinds> faults{};   // those that took place
  std::array<std::uint64_t, fault_kinds> planned{};  // until the end of the run
  std::uint64_t inherited = 0;
  // What whoever inherited did with the transfer that was under way.
  std::uint64_t finished = 0;
  std::uint64_t undone = 0;
  std::uint64_t none_under_way = 0;
  std::uint64_t timed_out = 0;
  Nanoseconds longest_wait = 0;
  Nanoseconds longest_wait_while_free = 0;
  Histogram waits{};
  Money money_lost = 0;
  Nanoseconds stranded_after = 2 * second;
  std::uint64_t stranded_waiters = 0;
  std::array<std::uint64_t, obstacles> stranded_behind{};
  std::uint64_t locks_lost = 0;  // that could not be had when nobody was left
  std::uint64_t wrong_owners = 0;
  std::vector<std::string> failures;  // workers that neither met with a fault nor worked until the end

  std::uint64_t recoveries() const { return finished + undone + none_under_way; }
  bool passed() const {
    return money_lost == 0 && stranded_waiters == 0 && locks_lost == 0 && wrong_owners == 0 &&
           failures.empty();
  }
};

/// The first line, which says how to run the same again. The options have their seed.
std::string headline(const Options& options);
/// What speaks against the lock, a sentence each; nothing when the run passed.
std::vector<std::string> what_was_seen(const Result& result);
/// The waiting times, the table and the verdict.
std::string table(const Result& result);
std::string as_json(const Options& options, const Result& result);

struct Progress {
  Nanoseconds elapsed;
  double operations_per_second;
  std::uint64_t kills;
  std::uint64_t inherited;
  Nanoseconds longest_waiting;
};
/// Without an end of line.
std::string progress_line(const Progress& progress);

}  // namespace stress
#endif
