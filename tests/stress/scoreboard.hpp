// What the workers tell the supervisor, in memory that survives them.
#ifndef HEIRLOCK_TESTS_STRESS_SCOREBOARD_HPP
#define HEIRLOCK_TESTS_STRESS_SCOREBOARD_HPP

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "stress/clock.hpp"
#include "stress/faults.hpp"
#include "stress/histogram.hpp"
#include "stress/ledger.hpp"
#include "stress/options.hpp"
#include "stress/phase.hpp"

namespace stress {

/// A number that one thread writes and the supervisor reads, whenever it likes. What was posted before it can
/// be read after it.
template <class T>
class Posted {
 public:
  T read() const noexcept { return value_.load(std::memory_order_acquire); }
  void post(T value) noexcept { value_.store(value, std::memory_order_release); }
  void add(T more) noexcept { post(read() + more); }
  void raise_to(T value) noexcept {
    if (value > read()) post(value);
  }

 private:
  std::atomic<T> value_{};
};

/// One thread's line. It passes on, counters and all, to the thread that replaces a killed one.
struct alignas(64) Line {
  Posted<pid_t> tid;                  // 0 while no thread works here
  Posted<Nanoseconds> waiting_since;  // 0 while it does not wait for a lock
  Posted<std::uint32_t> waiting_for;  // the number of that lock
  Posted<Nanoseconds> longest_wait;
  Posted<bool> is_busy;  // while it may hold or want a lock
  Posted<std::uint64_t> operations;
  Posted<std::uint64_t> timed_out;
  Posted<std::uint64_t> inherited;
  Posted<std::uint64_t> none_under_way;  // recoveries that found no transfer half-done
  Posted<std::uint64_t> finished;        // half-done transfers that an heir carried out
  Posted<std::uint64_t> undone;          // and those it took back
  Posted<std::uint64_t> wrong_owners;
  Posted<Money> money_lost;  // the largest difference an audit found
  Posted<std::uint64_t> waits[wait_ranges];
  /// The fault that the supervisor wants of this thread, and has not had yet: its index plus 1, or 0. A
  /// thread that is killed before leaves it to its successor.
  Posted<std::uint32_t> ordered;
  Posted<std::uint64_t> faults[fault_kinds];  // that this thread brought about itself
  /// Whether this thread is about to end its process by exit or exec: from then on none of its threads
  /// counts.
  Posted<bool> is_leaving;
};

struct Scoreboard {
  PhaseSign phase;
  // The children forked by threads that held locks: no line is theirs.
  std::atomic<std::uint64_t> children_begun{0};
  std::atomic<std::uint64_t> children_ended{0};
  std::atomic<std::uint64_t> children_wrong{0};   // who passed for their parent
  Line lines[most_processes * most_threads + 1];  // the workers', and then the supervisor's
};

}  // namespace stress
#endif
