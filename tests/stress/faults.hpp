// What happens to the workers, and when: chosen from the seed alone.
#ifndef HEIRLOCK_TESTS_STRESS_FAULTS_HPP
#define HEIRLOCK_TESTS_STRESS_FAULTS_HPP

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "support/clock.hpp"

namespace stress {

using namespace support;  // its clock

enum class Fault : std::uint32_t {
  kill,         // SIGKILL
  stop,         // SIGSTOP, and SIGCONT up to 100 ms later
  exit,         // a thread ends while it holds locks; the first thread ends its whole process
  fork,         // a thread that holds locks forks; the child tries to release them
  exec,         // the first thread of a process calls exec while it holds locks
  exec_thread,  // another thread does
  timeout,      // a thread waits until its timeout
  signal,       // a thread handles a signal while it waits
};
inline constexpr std::size_t fault_kinds = 8;
inline constexpr std::string_view fault_names[fault_kinds] = {"kill", "stop",        "exit",    "fork",
                                                              "exec", "exec-thread", "timeout", "signal"};

using Faults = std::bitset<fault_kinds>;

constexpr std::size_t index_of(Fault fault) noexcept {
  return static_cast<std::size_t>(fault);
}
inline Faults only(Fault fault) {
  return Faults().set(index_of(fault));
}
/// As the value of --faults.
std::string as_list(const Faults& faults);

struct Options;

struct PlannedFault {
  Nanoseconds after = 0;  // since the run began
  Fault fault = Fault::kill;
  std::uint32_t worker = 0;
  std::uint32_t thread = 0;  // of that worker; not used by kill and stop
  Nanoseconds duration = 0;  // of a stop
  // If there is a roll call around it: whether the roll call is first, and then how long before the fault.
  bool is_roll_call_first = false;
  Nanoseconds pause = 0;
};

/// One fault in each period of 1/rate, at a random moment of the period: an exact number of faults, but no
/// rhythm that the workers could fall into.
class FaultStream {
 public:
  FaultStream(const Options& options, Faults faults, double rate, std::uint64_t seed);
  const std::optional<PlannedFault>& next() const { return next_; }
  void draw();

 private:
  const std::uint32_t processes_;
  const std::uint32_t threads_;
  const double end_;  // in nanoseconds
  const double rate_;
  std::vector<Fault> faults_;
  std::mt19937_64 random_;
  std::uint64_t drawn_ = 0;
  std::optional<PlannedFault> next_;
};

/// All faults of a run, in the order of their moments. A seed gives the same kills whatever the other faults
/// are.
class FaultPlan {
 public:
  explicit FaultPlan(const Options& options);
  const std::optional<PlannedFault>& next() const;
  void advance();

 private:
  bool is_kill_next() const;
  FaultStream kills_;
  FaultStream others_;
};

}  // namespace stress
#endif
