// A view of a ReentrantLock without the backstop, and with a clock that is moved by hand.
#ifndef HEIRLOCK_TESTS_PROPERTY_LOCK_BY_HAND_HPP
#define HEIRLOCK_TESTS_PROPERTY_LOCK_BY_HAND_HPP

#include <atomic>

#include "heirlock/reentrant_lock.hpp"

namespace property {

/// The shipped algorithm over the shipped platform, with other time: a sleep ends by a wake-up or a signal
/// only, and the time of a timed acquire is over when the calling thread is told so. It works on the bytes of
/// the lock, together with all who use these as a ReentrantLock.
class LockByHand {
 public:
  explicit LockByHand(heirlock::ReentrantLock& lock) noexcept : lock_(&lock) {}

  /// What tells the calling thread that time is over; who sets it sends a signal as well, to end its sleep.
  static void set_clock(const std::atomic<bool>& time_is_over) noexcept;

  [[nodiscard]] heirlock::AcquireResult acquire();
  [[nodiscard]] heirlock::AcquireResult acquire_until_time_is_over();
  [[nodiscard]] heirlock::AcquireResult try_acquire();
  void release();
  void repaired();
  void abandon();

 private:
  heirlock::ReentrantLock* lock_;
};

}  // namespace property
#endif
