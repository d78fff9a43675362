// The lock that the sweep is about: the shipped algorithm over the shipped platform, with three changes that
// make a process take the same instructions each time and that leave nothing to a time-out.
#ifndef HEIRLOCK_TESTS_CRASH_LOCK_HPP
#define HEIRLOCK_TESTS_CRASH_LOCK_HPP

#include <atomic>
#include <cstdint>

#include "heirlock/reentrant_lock.hpp"

namespace crash {

/// A nap of a waiter that was woken in vain, or the time for which an owner steps aside. It lasts until it is
/// ended: a policy of waiting may do worse than any number of milliseconds.
struct Pause {
  enum class Of : std::uint32_t { nobody, a_waiter, an_owner };
  Of of = Of::nobody;
  std::atomic<std::uint32_t> is_over{0};

  void last() noexcept;
  void end() noexcept;
};

/// A view of a ReentrantLock, on whose bytes it works.
///   - The backstop is compiled out: a lost wake-up is lost for ever, a dead owner is never looked for.
///   - A waiter looks three times before it sleeps, without a pause or a look at the clock in between.
///   - A timed acquire sleeps once, and then its time is over, also if it was woken: the clock is asked but
///   not obeyed.
///   - Nobody naps and nobody steps aside but who is told to.
class Lock {
 public:
  explicit Lock(heirlock::ReentrantLock& lock) noexcept : lock_(&lock) {}

  /// The calling thread makes this pause from now on.
  static void pause_here(Pause& here);

  heirlock::AcquireResult acquire();
  heirlock::AcquireResult try_acquire();
  heirlock::AcquireResult acquire_for_one_sleep(std::int64_t nanoseconds);
  void release();
  void repaired();
  bool is_owned() const noexcept;

  std::uint32_t word() const noexcept;
  std::uint32_t depth() const noexcept;
  const void* futex() const noexcept { return lock_; }
  /// As after a wake-up by the calling thread that found nobody: the next release drops WAITERS and wakes
  /// all.
  void set_quiet();

 private:
  heirlock::ReentrantLock* lock_;
};

}  // namespace crash
#endif
