// ReentrantLock: the lock itself.
#ifndef HEIRLOCK_REENTRANT_LOCK_HPP
#define HEIRLOCK_REENTRANT_LOCK_HPP

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <type_traits>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/detail/deadline.hpp"
#include "heirlock/detail/linux_platform.hpp"
#include "heirlock/detail/lock_algorithm.hpp"
#include "heirlock/error.hpp"

namespace heirlock {
inline namespace v0_1 {

/// The result of an acquire.
enum class AcquireResult : std::uint8_t {
  not_acquired = heirlock_not_acquired,  ///< the lock is busy, the timeout passed, or a signal ended the wait
  acquired = heirlock_acquired,          ///< the caller owns the lock, at depth 1: one release frees it
  reentered = heirlock_reentered,        ///< the caller owned the lock already, now one level deeper
  inherited = heirlock_inherited,  ///< the caller owns the lock, at depth 1; an owner died, and the data may
                                   ///< be half-written
};

/// A reentrant mutex for threads and processes: 40 bytes in shared memory (`MAP_SHARED`), or in any memory if
/// only the threads of one process use it. When the owner dies, for whatever reason, the next thread to
/// acquire the lock inherits it and is told so.
///
///   | the lock is          | acquire() | try_acquire() | lock()     | try_lock() | release()      |
///   |----------------------|-----------|---------------|------------|------------|----------------|
///   | free                 | acquired  | acquired      | locks      | true       | AssertionError |
///   | free, its owner died | inherited | inherited     | owner_dead | owner_dead | AssertionError |
///   | the caller's         | reentered | reentered     | locks      | true       | done           |
///   | another thread's     | waits     | not_acquired  | waits      | false      | AssertionError |
///
/// After `inherited` the data under the lock may be half-written. Repair the data, then call repaired().
/// Until then every acquire of the free lock returns `inherited`, so no death is forgotten.
///
/// A child made by fork owns no lock. A new owner sees everything that earlier owners wrote, dead ones too.
/// All-zero memory is a free lock. Do not unmap or reuse the memory while a thread holds the lock or waits
/// for it.
///
/// Errors: every acquire may throw std::system_error with errc::recursion_too_deep,
/// errc::foreign_pid_namespace, errc::unsupported_platform or the system's own code; the lock is then
/// unchanged. No operation changes errno, or allocates memory except to throw. The lock is neither fair nor
/// async-signal-safe.
class HEIRLOCK_CAPABILITY ReentrantLock {
 public:
  constexpr ReentrantLock() noexcept = default;
  ReentrantLock(const ReentrantLock&) = delete;
  ReentrantLock& operator=(const ReentrantLock&) = delete;

  /// Waits until the caller owns the lock. Never returns not_acquired.
  [[nodiscard]] AcquireResult acquire() HEIRLOCK_ACQUIRES {
    return result_of(Algorithm::acquire(memory_, Platform::for_ever));
  }

  /// Acquires the lock if it need not wait.
  [[nodiscard]] AcquireResult try_acquire() {
    return result_of(Algorithm::acquire(memory_, Platform::no_wait));
  }

  /// Waits for the lock; returns not_acquired after `timeout`, measured on CLOCK_MONOTONIC, and not earlier.
  /// A timeout of zero or less tries once. One that overflows waits for ever. Throws std::invalid_argument if
  /// the timeout is NaN.
  template <class Rep, class Period>
  [[nodiscard]] AcquireResult acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return result_of(detail::acquire_for(memory_, detail::nanoseconds_of(timeout)));
  }

  /// Waits for the lock; returns not_acquired when `deadline` has passed on its own clock. A clock that is
  /// not steady may be set, so it is read once a second.
  template <class Clock, class Duration>
  [[nodiscard]] AcquireResult acquire_until(std::chrono::time_point<Clock, Duration> deadline) {
    for (;;) {
      // Floating point cannot overflow for any clock.
      using Moment = std::chrono::duration<long double, std::nano>;
      auto left = Moment(deadline.time_since_epoch()) - Moment(Clock::now().time_since_epoch());
      // The clock may be set forward during the wait.
      if (!Clock::is_steady) left = std::min(left, Moment(std::chrono::seconds(1)));
      const AcquireResult result = acquire_for(left);
      // The clock may have been set back, or be slower than CLOCK_MONOTONIC: compare again.
      if (result != AcquireResult::not_acquired || left <= Moment::zero()) return result;
    }
  }

  /// As acquire() and acquire_for(), but returns not_acquired when a signal handler runs in the calling
  /// thread during the wait. (No signal ends the other acquires.) A handler that runs just before the thread
  /// sleeps goes unnoticed: if it sets a flag that the caller checks, use a timeout as well.
  [[nodiscard]] AcquireResult acquire_interruptible() {
    return acquire_interruptible_until(Platform::for_ever);
  }
  template <class Rep, class Period>
  [[nodiscard]] AcquireResult acquire_interruptible_for(std::chrono::duration<Rep, Period> timeout) {
    return acquire_interruptible_until(Platform::deadline_after(detail::nanoseconds_of(timeout)));
  }

  /// Undoes one acquire. The last release frees the lock. Throws AssertionError unless the caller owns it.
  void release() HEIRLOCK_RELEASES { require_done(Algorithm::release(memory_), "release"); }

  /// Declares that the data under the lock is consistent again: the next acquire of the free lock returns
  /// `acquired`. Throws AssertionError unless the caller owns the lock.
  void repaired() { require_done(Algorithm::repaired(memory_), "repaired"); }

  /// Whether the calling thread owns the lock.
  bool is_owned() const noexcept { return Algorithm::is_owned(memory_); }
  /// How often the calling thread must call release() to free the lock; 0 unless it owns the lock.
  std::uint32_t depth() const noexcept { return is_owned() ? memory_.depth.load() : 0; }
  /// The owner's thread id, 0 if the lock is free. May be out of date on return, unless the caller owns it.
  pid_t owner() const noexcept { return static_cast<pid_t>(detail::owner_of(word())); }
  /// Whether an owner died and nobody has called repaired() since.
  bool needs_repair() const noexcept { return (word() & detail::owner_died_bit) != 0; }

  // The standard's TimedLockable, for std::lock_guard, unique_lock and scoped_lock. These functions cannot
  // return `inherited`. If an owner has died, they leave the lock free and throw std::system_error with
  // std::errc::owner_dead, until a thread has acquired the lock and called repaired().
  void lock() HEIRLOCK_ACQUIRES { static_cast<void>(is_whole(acquire())); }
  bool try_lock() HEIRLOCK_TRY_ACQUIRES { return is_whole(try_acquire()); }
  void unlock() HEIRLOCK_RELEASES { release(); }
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> timeout) HEIRLOCK_TRY_ACQUIRES {
    return is_whole(acquire_for(timeout));
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> deadline) HEIRLOCK_TRY_ACQUIRES {
    return is_whole(acquire_until(deadline));
  }

 private:
  friend class Lockable;
  using Platform = detail::LinuxPlatform;
  using Algorithm = detail::LockAlgorithm<Platform>;

  AcquireResult acquire_interruptible_until(Platform::Deadline deadline) {
    const detail::Outcome outcome = detail::acquire_interruptible(memory_, deadline);
    return outcome == heirlock_interrupted ? AcquireResult::not_acquired : result_of(outcome);
  }
  AcquireResult result_of(detail::Outcome outcome) const {
    require_done(outcome, "acquire");
    return static_cast<AcquireResult>(outcome);
  }
  void require_done(detail::Outcome outcome, const char* call) const {
    if (HEIRLOCK_UNLIKELY(detail::is_refused(outcome)))
      detail::throw_refusal(explained(outcome, memory_, call));
  }
  bool is_whole(AcquireResult result) {
    if (HEIRLOCK_UNLIKELY(result == AcquireResult::inherited)) detail::give_back_and_throw(memory_);
    return result != AcquireResult::not_acquired;
  }
  std::uint32_t word() const noexcept { return memory_.word.load(detail::Order::relaxed); }

  detail::LinuxLock memory_;
};

static_assert(sizeof(ReentrantLock) == 40 && alignof(ReentrantLock) == 8);
static_assert(std::is_standard_layout_v<ReentrantLock> && std::is_trivially_destructible_v<ReentrantLock>);

}  // namespace v0_1
}  // namespace heirlock
#endif
