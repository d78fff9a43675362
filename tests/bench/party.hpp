// The processes or threads that use a lock together.
#ifndef HEIRLOCK_TESTS_BENCH_PARTY_HPP
#define HEIRLOCK_TESTS_BENCH_PARTY_HPP

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "support/clock.hpp"

namespace bench {

using namespace support;  // its clock

/// Says what was found and expected, and ends the program with status 1.
[[noreturn]] void fail(const char* what);

/// Zeroed memory that children share; ends the program when there is none.
void* shared_memory(std::size_t size);
void unmap(void* memory, std::size_t size);

/// An array of T in a mapping of its own that forked children share.
template <class T>
class Shared {
 public:
  explicit Shared(std::size_t count = 1)
      : count_(count), objects_(static_cast<T*>(shared_memory(count * sizeof(T)))) {
    for (std::size_t i = 0; i < count; ++i) ::new (static_cast<void*>(objects_ + i)) T();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { unmap(objects_, count_ * sizeof(T)); }

  T& operator[](std::size_t i) const { return objects_[i]; }
  T& operator*() const { return *objects_; }
  T* operator->() const { return objects_; }
  std::size_t size() const { return count_; }

 private:
  const std::size_t count_;
  T* const objects_;
};

/// A number in shared memory to wait for, asleep, by none of the locks that are compared.
class Signal {
 public:
  void set(std::uint32_t value);
  void increment();
  std::uint32_t get() const { return value_.load(std::memory_order_acquire); }
  /// Returns when the number is at least that.
  void wait_for(std::uint32_t value);

 private:
  std::atomic<std::uint32_t> value_{0};
};

enum class Kind { processes, threads };

/// So many of them, which run `body` with their number, and end with the object at the latest. A process that
/// does not end well ends the program.
class Parties {
 public:
  Parties(Kind kind, int count, const std::function<void(int)>& body);
  Parties(const Parties&) = delete;
  Parties& operator=(const Parties&) = delete;
  ~Parties() { join(); }

  /// Waits until all have ended.
  void join();
  /// What they have used so far.
  Nanoseconds processor_time() const;
  pid_t process(int index) const { return processes_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<pid_t> processes_;
  std::vector<std::thread> threads_;
  std::vector<clockid_t> clocks_;
};

/// A child of its own, killed with its parent, that runs `body`. It does not return from there.
pid_t spawn(const std::function<void()>& body);

/// Returns when the process is asleep in the kernel.
void wait_until_asleep(pid_t process);

}  // namespace bench
#endif
