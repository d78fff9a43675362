// How many system calls a thread makes.
#ifndef HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP
#define HEIRLOCK_TESTS_BENCH_SYSTEM_CALLS_HPP

#include <cstdint>

namespace bench {

/// Counts every system call of the calling thread from construction on. The kernel's syscall user dispatch
/// hands each one to a signal handler, which counts it and makes it: nothing is estimated and nobody else's
/// calls are seen, but each call takes a microsecond or two longer. So what is measured besides is measured
/// at another time.
class SystemCallCounter {
 public:
  SystemCallCounter();
  ~SystemCallCounter();
  SystemCallCounter(const SystemCallCounter&) = delete;
  SystemCallCounter& operator=(const SystemCallCounter&) = delete;

  /// Null when it counts; else why this system does not let it.
  const char* refusal() const { return refusal_; }
  std::uint64_t count() const;

 private:
  const char* refusal_ = nullptr;
};

}  // namespace bench
#endif
