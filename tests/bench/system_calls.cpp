#include "bench/system_calls.hpp"

#include <linux/perf_event.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "bench/party.hpp"

namespace bench {
namespace {

constexpr const char* tracing = "/sys/kernel/tracing";

// 0 when it cannot be read.
int read_number() {
  std::ifstream file(std::string(tracing) + "/events/raw_syscalls/sys_enter/id");
  int number = 0;
  file >> number;
  return number;
}

// Where nobody has mounted it, root may, for itself: in a child, whose mounts go with it.
int read_number_in_own_mounts() {
  const Shared<int> number;
  const pid_t child = spawn([&] {
    if (unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount("tracefs", tracing, "tracefs", 0, nullptr) == 0)
      *number = read_number();
  });
  waitpid(child, nullptr, 0);
  return *number;
}

int open_counter(int tracepoint) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = static_cast<std::uint64_t>(tracepoint);
  return static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, 0, -1, -1, static_cast<unsigned long>(PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

SystemCallTracepoint::SystemCallTracepoint() : number_(read_number()) {
  if (number_ == 0) number_ = read_number_in_own_mounts();
  if (number_ == 0) {
    refusal_ = "found no tracepoint raw_syscalls:sys_enter, expected it in /sys/kernel/tracing; run as root";
    return;
  }
  const int counter = open_counter(number_);
  if (counter < 0)
    refusal_ = std::string("perf_event_open failed (") + std::strerror(errno) +
               "), expected it to count raw_syscalls:sys_enter; run as root";
  else
    close(counter);
}

SystemCallCount::SystemCallCount(const SystemCallTracepoint& tracepoint) {
  if (!tracepoint.refusal().empty()) return;
  counter_ = open_counter(tracepoint.number());
  if (counter_ < 0)
    fail("found no room for one more counter, expected perf_event_open to give one to each party");
}

SystemCallCount::~SystemCallCount() {
  if (counter_ >= 0) close(counter_);
}

std::uint64_t SystemCallCount::read() const {
  std::uint64_t count = 0;
  if (counter_ >= 0 && ::read(counter_, &count, sizeof count) != sizeof count)
    fail("found a counter of system calls that cannot be read, expected a number");
  return count > 0 ? count - 1 : 0;  // without the call that reads it
}

}  // namespace bench
