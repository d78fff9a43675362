// The processes or threads that use a lock together.
#ifndef HEIRLOCK_TESTS_BENCH_PARTY_HPP
#define HEIRLOCK_TESTS_BENCH_PARTY_HPP

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "support/clock.hpp"
#include "support/thread_state.hpp"

namespace bench {

using namespace support;  // its clock

/// Ends the program with this message and status 1.
[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  _exit(1);  // not exit(): other threads may be running
}

/// An array of T in a mapping of its own, which forked children share unless it is MAP_PRIVATE.
template <class T>
class Shared {
 public:
  explicit Shared(std::size_t count = 1, int sharing = MAP_SHARED) : count_(count) {
    void* const memory =
        mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap failed: out of memory");
    objects_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < count; ++i) ::new (static_cast<void*>(objects_ + i)) T();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    for (std::size_t i = 0; i < count_; ++i) objects_[i].~T();
    munmap(static_cast<void*>(objects_), count_ * sizeof(T));
  }

  T& operator[](std::size_t i) const { return objects_[i]; }
  T& operator*() const { return *objects_; }
  T* operator->() const { return objects_; }
  std::size_t size() const { return count_; }

 private:
  const std::size_t count_;
  T* objects_;
};

/// A child of its own, killed with its parent, that runs `body`. It does not return from there.
template <class Body>
pid_t spawn(Body body) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) fail("fork failed: too many processes, or out of memory");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // it died before the line above
    body();
    _exit(0);
  }
  return child;
}

/// A process that does not end well ends the program.
inline void wait_for_end(pid_t process) {
  int status = 0;
  if (waitpid(process, &status, 0) != process || status != 0)
    fail("a party ended with wait status " + std::to_string(status) + "; its own message, if any, is above");
}

/// Returns when the process is asleep in the kernel.
inline void wait_until_asleep(pid_t process) {
  while (support::state_of(process) != 'S') sched_yield();
}

enum class Kind { processes, threads };

/// So many of them, which run `body` with their number, and end with the object at the latest.
class Parties {
 public:
  Parties(Kind kind, int count, const std::function<void(int)>& body) {
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
  Parties(const Parties&) = delete;
  Parties& operator=(const Parties&) = delete;
  ~Parties() { join(); }

  /// Waits until all have ended.
  void join() {
    for (std::thread& thread : threads_) thread.join();
    for (const pid_t process : processes_) wait_for_end(process);
    threads_.clear();
    processes_.clear();
    clocks_.clear();
  }
  /// What they have used so far.
  Nanoseconds processor_time() const {
    Nanoseconds sum = 0;
    for (const clockid_t clock : clocks_) sum += read(clock);
    return sum;
  }
  pid_t process(int index) const { return processes_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<pid_t> processes_;
  std::vector<std::thread> threads_;
  std::vector<clockid_t> clocks_;
};

}  // namespace bench
#endif
