// A worker: one process whose threads keep the bank busy until they are told to stop, or killed.
#ifndef HEIRLOCK_TESTS_STRESS_WORKER_HPP
#define HEIRLOCK_TESTS_STRESS_WORKER_HPP

#include <sys/types.h>

#include <cstdint>

#include "stress/bank.hpp"
#include "stress/scoreboard.hpp"

namespace stress {

struct Employment {
  Bank& bank;
  const PhaseSign& phase;
  Line* lines;  // one a thread
  std::uint32_t threads;
  std::uint32_t accounts;
  std::uint64_t seed;
  pid_t supervisor;  // the worker does not outlive it
};

/// Runs in a process just forked. Ends it with exit status 0 after Phase::stop, with 3 and a message when
/// something was thrown.
[[noreturn]] void work(const Employment& employment) noexcept;

}  // namespace stress
#endif
