// How many system calls a thread makes.
#ifndef HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP
#define HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP

#include <cstdint>
#include <string>

namespace bench {

/// The kernel's tracepoint at the beginning of every system call, which the kernel counts by itself. Tracing
/// a process or having its calls signalled to it would count as well, but makes a call so slow that other
/// ones are made: on a lock with short sections a quarter of them.
class SystemCallTracepoint {
 public:
  /// Looks for it. Before there are other threads: it may need a child for that.
  SystemCallTracepoint();

  /// Empty when there is one; else why not.
  const std::string& refusal() const { return refusal_; }
  int number() const { return number_; }

 private:
  int number_ = 0;
  std::string refusal_;
};

/// Counts those of the calling thread from construction on.
class SystemCallCount {
 public:
  /// Counts nothing when there is no tracepoint.
  explicit SystemCallCount(const SystemCallTracepoint& tracepoint);
  SystemCallCount(const SystemCallCount&) = delete;
  SystemCallCount& operator=(const SystemCallCount&) = delete;
  ~SystemCallCount();

  /// Until now.
  std::uint64_t read() const;

 private:
  int counter_ = -1;
};

}  // namespace bench
#endif
