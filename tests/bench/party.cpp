#include "bench/party.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace bench {

void fail(const char* what) {
  std::fprintf(stderr, "heirlock-bench-parties: %s\n", what);
  _exit(1);  // not exit(): other threads may be running
}

void* shared_memory(std::size_t size) {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("found no memory to share, expected mmap to map some");
  return memory;
}

void unmap(void* memory, std::size_t size) {
  munmap(memory, size);
}

void Signal::set(std::uint32_t value) {
  value_.store(value, std::memory_order_release);
  syscall(SYS_futex, &value_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Signal::increment() {
  value_.fetch_add(1, std::memory_order_acq_rel);
  syscall(SYS_futex, &value_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Signal::wait_for(std::uint32_t value) {
  for (std::uint32_t seen = get(); seen < value; seen = get())
    syscall(SYS_futex, &value_, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}

pid_t spawn(const std::function<void()>& body) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) fail("found that fork failed, expected another process");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // it died before the line above
    body();
    _exit(0);
  }
  return child;
}

Parties::Parties(Kind kind, int count, const std::function<void(int)>& body) {
  for (int index = 0; index < count; ++index) {
    clockid_t clock{};
    if (kind == Kind::processes) {
      processes_.push_back(spawn([&] { body(index); }));
      clock_getcpuclockid(processes_.back(), &clock);
    } else {
      threads_.emplace_back(body, index);
      pthread_getcpuclockid(threads_.back().native_handle(), &clock);
    }
    clocks_.push_back(clock);
  }
}

void Parties::join() {
  for (std::thread& thread : threads_) thread.join();
  for (const pid_t process : processes_) {
    int status = 0;
    if (waitpid(process, &status, 0) != process || status != 0)
      fail(
          "found a party that did not end well, expected all to; its own message stands above, if it had "
          "one");
  }
  threads_.clear();
  processes_.clear();
  clocks_.clear();
}

Nanoseconds Parties::processor_time() const {
  Nanoseconds sum = 0;
  for (const clockid_t clock : clocks_) sum += read(clock);
  return sum;
}

void wait_until_asleep(pid_t process) {
  for (;;) {
    std::ifstream file("/proc/" + std::to_string(process) + "/stat");
    std::string text;
    std::getline(file, text);
    const std::size_t name_end = text.rfind(')');  // "pid (name) state ...", and a name may hold anything
    if (name_end == std::string::npos || name_end + 2 >= text.size())
      fail("found a process without /proc/PID/stat, expected it to be asleep; mount /proc");
    if (text[name_end + 2] == 'S') return;
    sched_yield();
  }
}

}  // namespace bench
