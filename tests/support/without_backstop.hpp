// A view of a ReentrantLock whose waiters sleep without the backstop: a lost wake-up is lost for ever.
#ifndef HEIRLOCK_TESTS_SUPPORT_WITHOUT_BACKSTOP_HPP
#define HEIRLOCK_TESTS_SUPPORT_WITHOUT_BACKSTOP_HPP

#include <chrono>
#include <cstdint>

#include "heirlock/reentrant_lock.hpp"

namespace support {

/// The shipped algorithm over the shipped platform, but for one operation: its sleep knows no slices, so no
/// time-out wakes it and no owner is ever looked for. It works on the bytes of `lock`, together with all who
/// use these as a ReentrantLock. What a test shows by it does not rest on the backstop.
class LockWithoutBackstop {
 public:
  explicit LockWithoutBackstop(heirlock::ReentrantLock& lock) noexcept : lock_(&lock) {}

  [[nodiscard]] heirlock::AcquireResult acquire();
  [[nodiscard]] heirlock::AcquireResult try_acquire();
  /// When its time is over it looks once more, as the shipped one does. So do not use it to see whether a
  /// wake-up was lost: it would find the lock free and take it.
  [[nodiscard]] heirlock::AcquireResult acquire_for(std::chrono::nanoseconds timeout);
  void release();
  void repaired();
  bool is_owned() const noexcept;

 private:
  heirlock::ReentrantLock* lock_;
};

}  // namespace support
#endif
