// What the supervisor and the workers tell each other, in memory that survives the workers.
#ifndef HEIRLOCK_TESTS_STRESS_SCOREBOARD_HPP
#define HEIRLOCK_TESTS_STRESS_SCOREBOARD_HPP

#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

#include "stress/faults.hpp"
#include "stress/options.hpp"
#include "support/histogram.hpp"

namespace stress {

enum class Phase : std::uint32_t {
  roll_call,  // begin no operation, so that it shows who still waits for a lock
  work,
  stop,
};

/// What the workers are to do. A futex rather than polling: a thousand threads that look again every
/// millisecond would be a load of their own.
class PhaseSign {
 public:
  Phase read() const noexcept { return phase_.load(std::memory_order_relaxed); }

  void set(Phase phase) noexcept {
    phase_.store(phase, std::memory_order_relaxed);
    syscall(SYS_futex, &phase_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }

  /// Sleeps during that phase; may return early.
  void wait_while(Phase phase) const noexcept {
    syscall(SYS_futex, &phase_, FUTEX_WAIT, static_cast<std::uint32_t>(phase), nullptr, nullptr, 0);
  }

 private:
  std::atomic<Phase> phase_{Phase::roll_call};
  static_assert(sizeof phase_ == sizeof(std::uint32_t), "a futex has 32 bits");
};

/// A number that one thread writes and the supervisor reads at any time. Whoever reads it can also read what
/// was posted before it.
template <class T>
class Posted {
 public:
  T read() const noexcept { return value_.load(std::memory_order_acquire); }
  void post(T value) noexcept { value_.store(value, std::memory_order_release); }
  void add(T more) noexcept { post(read() + more); }

 private:
  std::atomic<T> value_{};
};

/// One thread's line. A thread that replaces a dead one takes over its line, counters and all.
struct alignas(64) Line {
  Posted<pid_t> tid;                  // 0 while no thread works here
  Posted<Nanoseconds> waiting_since;  // 0 while it does not wait for a lock
  Posted<std::uint32_t> waiting_for;  // the number of that lock
  Posted<bool> is_busy;               // while it may hold or want a lock
  SmallHistogram waits;               // to be read when the thread has ended
  Posted<std::uint64_t> operations;
  Posted<std::uint64_t> timed_out;
  Posted<std::uint64_t> inherited;
  Posted<std::uint64_t> none_under_way;  // recoveries that found no transfer half-done
  Posted<std::uint64_t> finished;        // half-done transfers that an heir finished
  Posted<std::uint64_t> undone;          // half-done transfers that an heir undid
  Posted<std::uint64_t> wrong_owners;
  Posted<std::int64_t> money_lost;  // the largest difference that an audit found
  /// The fault that the supervisor orders: its index plus 1, or 0. A thread that is killed before it carries
  /// out the order leaves it to its successor.
  Posted<std::uint32_t> ordered;
  Posted<std::uint64_t> faults[fault_kinds];  // that this thread brought about itself
  /// In the line of a process's first thread: one of the threads is about to end the process by exit or exec.
  /// From then on none of its threads counts.
  Posted<bool> is_leaving;
};

struct Scoreboard {
  PhaseSign phase;
  // Forked children, which have no lines.
  std::atomic<std::uint64_t> children_begun{0};
  std::atomic<std::uint64_t> children_ended{0};
  std::atomic<std::uint64_t> children_wrong{0};  // that counted as the owner
  Line lines[most_threads_in_all + 1];           // the workers', and then the supervisor's
};

}  // namespace stress
#endif
