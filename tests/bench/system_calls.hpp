// How many system calls a thread makes.
//
// The kernel has a tracepoint at the beginning of each, and counts by itself how often a thread passes it. To
// trace a process, or to have its calls signalled to it, would count as well, but makes a call so slow that
// other ones are made: on a lock with short sections a quarter of them.
#ifndef HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP
#define HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>

namespace bench {

/// The tracepoint's number; 0 if there is none, or only root may know. Where nobody has mounted tracefs, root
/// may for one command.
inline int system_call_tracepoint() {
  constexpr const char* command =
      "exec 2>/dev/null; id=/sys/kernel/tracing/events/raw_syscalls/sys_enter/id; cat $id ||"
      " unshare --mount sh -c \"mount -t tracefs tracefs /sys/kernel/tracing && cat $id\"";
  int number = 0;
  if (std::FILE* const output = popen(command, "r")) {
    if (std::fscanf(output, "%d", &number) != 1) number = 0;
    pclose(output);
  }
  return number;
}

/// Counts those of the calling thread from construction on.
class SystemCallCount {
 public:
  explicit SystemCallCount(int tracepoint) {
    if (tracepoint == 0) return;
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = static_cast<std::uint64_t>(tracepoint);
    counter_ = static_cast<int>(syscall(SYS_perf_event_open, &attributes, 0, -1, -1,
                                        static_cast<unsigned long>(PERF_FLAG_FD_CLOEXEC)));
  }
  SystemCallCount(const SystemCallCount&) = delete;
  SystemCallCount& operator=(const SystemCallCount&) = delete;
  ~SystemCallCount() {
    if (counter_ >= 0) close(counter_);
  }

  /// Until now; NaN if the system does not count them.
  double read() const {
    std::uint64_t count = 0;
    if (counter_ < 0 || ::read(counter_, &count, sizeof count) != sizeof count) return NAN;
    return static_cast<double>(count - 1);  // without the call that reads it
  }

 private:
  int counter_ = -1;
};

}  // namespace bench
#endif
