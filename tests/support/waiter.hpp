// A process that waits for a lock.
#ifndef HEIRLOCK_TESTS_SUPPORT_WAITER_HPP
#define HEIRLOCK_TESTS_SUPPORT_WAITER_HPP

#include <sys/types.h>

#include <atomic>
#include <functional>

#include "heirlock/reentrant_lock.hpp"
#include "support/party.hpp"
#include "support/shared_memory.hpp"

namespace support {

enum class Backstop { off, on };

/// Sleeps in an acquire of the lock when the constructor returns; without the backstop, unless told
/// otherwise or needed by the kernel's walk, so that it goes on by a wake-up or never. Then does what it was
/// told to do then; if that is nothing, it releases the lock.
class Waiter {
 public:
  explicit Waiter(heirlock::ReentrantLock& lock, Backstop backstop = Backstop::off,
                  std::function<void()> then = nullptr);
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  /// Waits until it has ended; a waiter that never got the lock is killed.
  ~Waiter();

  /// What its acquire came to. When that takes more than `patience` it is taken for stranded: the test fails,
  /// and the answer is not_acquired.
  heirlock::AcquireResult result();
  /// Whether its acquire has come back.
  bool has_come_back();
  pid_t pid() const { return process_.tid(); }
  /// Kills it with SIGKILL and reaps it.
  void kill();

  static constexpr std::chrono::seconds patience{30};

 private:
  InSharedMemory<std::atomic<heirlock::AcquireResult>> result_;
  Gate came_back_;
  bool has_come_back_ = false;
  bool is_killed_ = false;
  Party process_;
};

}  // namespace support
#endif
