// A worker: one process whose threads use the banks until they are told to stop, or meet with a fault.
#ifndef HEIRLOCK_TESTS_STRESS_WORKER_HPP
#define HEIRLOCK_TESTS_STRESS_WORKER_HPP

#include <sys/types.h>

#include <cstdint>
#include <deque>

#include "stress/bank.hpp"
#include "stress/scoreboard.hpp"

namespace stress {

/// The exit status of a worker that ends by exit or exec because it was ordered to.
inline constexpr int left_on_order = 42;

/// The name, in argv[0], under which a worker's exec runs this program again; see after_exec().
inline constexpr char name_after_exec[] = "heirlock-stress-after-exec";

struct Employment {
  Scoreboard& board;
  Line* lines;  // one a thread
  std::uint32_t threads;
  std::uint64_t seed;
  pid_t supervisor;  // the worker does not outlive it
};

/// Runs in a process just forked. Ends it with exit status 0 after Phase::stop, with left_on_order, or with 3
/// and a message after an exception.
[[noreturn]] void work(std::deque<Bank>& banks, const Employment& employment) noexcept;

/// Runs in a process that called exec while it held locks: it holds nothing, and lives for this long.
[[noreturn]] void after_exec(const char* microseconds) noexcept;

}  // namespace stress
#endif
