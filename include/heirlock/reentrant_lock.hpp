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

/// What an acquire came to.
enum class AcquireResult : std::uint8_t {
  not_acquired = heirlock_not_acquired,  ///< busy, or the deadline passed, or a signal ended the wait
  acquired = heirlock_acquired,          ///< was free, now yours at depth 1
  reentered = heirlock_reentered,        ///< was yours already, one deeper
  inherited = heirlock_inherited,  ///< yours at depth 1; an owner died, and what it left may be half-written
};

/// A reentrant mutex for threads and processes, 40 bytes in memory that all of them map (`MAP_SHARED`; for
/// the threads of one process any memory will do). When its owner dies, however it dies, the next one to
/// acquire inherits the lock and is told so.
///
///   | the lock is    | acquire()  | try_acquire() | lock()     | try_lock() | release()      |
///   |----------------|------------|---------------|------------|------------|----------------|
///   | free           | acquired   | acquired      | locks      | true       | AssertionError |
///   | a dead owner's | inherited  | inherited     | owner_dead | owner_dead | AssertionError |
///   | the caller's   | reentered  | reentered     | locks      | true       | done           |
///   | another's      | waits      | not_acquired  | waits      | false      | AssertionError |
///
/// repaired() needs the caller to own the lock, as release() does. A dead owner's lock stays one until then.
///
/// After `inherited` the data under the lock may be half-written. Mend it, then call repaired(); until
/// somebody does, every next owner inherits too, so no death is forgotten. A child made by fork owns nothing.
///
/// All-zero memory is a free lock; memory is not to be unmapped or reused while a thread holds the lock in it
/// or waits for it. Everything an owner wrote is visible to the next one, an heir included.
///
/// Errors: every acquire may throw std::system_error with errc::recursion_too_deep,
/// errc::foreign_pid_namespace, errc::unsupported_platform or, for want of one page, the system's error; the
/// lock is then as it was. No operation allocates memory (but to throw) or changes errno; none is fair, or
/// async-signal-safe.
class HEIRLOCK_CAPABILITY ReentrantLock {
 public:
  constexpr ReentrantLock() noexcept = default;
  ReentrantLock(const ReentrantLock&) = delete;
  ReentrantLock& operator=(const ReentrantLock&) = delete;

  /// Waits until the lock is the caller's. Never returns not_acquired.
  [[nodiscard]] AcquireResult acquire() HEIRLOCK_ACQUIRES {
    return result_of(Algorithm::acquire(memory_, Platform::for_ever));
  }

  /// Takes the lock if that needs no waiting.
  [[nodiscard]] AcquireResult try_acquire() {
    return result_of(Algorithm::acquire(memory_, Platform::no_wait));
  }

  /// Waits at least for `timeout`, measured on CLOCK_MONOTONIC, unless it gets the lock. A timeout of zero or
  /// less tries once; one too large to count waits for ever. Throws std::invalid_argument on NaN.
  template <class Rep, class Period>
  [[nodiscard]] AcquireResult acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return result_of(detail::acquire_for(memory_, detail::nanoseconds_of(timeout)));
  }

  /// Waits until `deadline` has passed on its own clock, unless it gets the lock. A clock that is not steady
  /// is looked at once a second, as it may be set.
  template <class Clock, class Duration>
  [[nodiscard]] AcquireResult acquire_until(std::chrono::time_point<Clock, Duration> deadline) {
    for (;;) {
      // In floating point, so that no moment of any clock overflows.
      using Moment = std::chrono::duration<long double, std::nano>;
      auto left = Moment(deadline.time_since_epoch()) - Moment(Clock::now().time_since_epoch());
      // Its clock may be set forward meanwhile.
      if (!Clock::is_steady) left = std::min(left, Moment(std::chrono::seconds(1)));
      const AcquireResult result = acquire_for(left);
      // Its clock may have been set back meanwhile, or run slower: only that clock says when it is over.
      if (result != AcquireResult::not_acquired || left <= Moment::zero()) return result;
    }
  }

  /// As acquire() and acquire_for(), but a signal handler that runs in the calling thread while it waits ends
  /// the wait: returns not_acquired. Of the other acquires no signal ends the wait. A handler that runs just
  /// before the thread sleeps is not noticed: who looks at a flag of the handler's gives a timeout as well.
  [[nodiscard]] AcquireResult acquire_interruptible() {
    return acquire_interruptible_until(Platform::for_ever);
  }
  template <class Rep, class Period>
  [[nodiscard]] AcquireResult acquire_interruptible_for(std::chrono::duration<Rep, Period> timeout) {
    return acquire_interruptible_until(Platform::deadline_after(detail::nanoseconds_of(timeout)));
  }

  /// Gives back one acquire; the last one frees the lock. Throws AssertionError unless the caller owns it.
  void release() HEIRLOCK_RELEASES { require_done(Algorithm::release(memory_), "release"); }

  /// Declares the data under the lock whole again. Throws AssertionError unless the caller owns the lock.
  void repaired() { require_done(Algorithm::repaired(memory_), "repaired"); }

  /// Whether the calling thread owns the lock.
  bool is_owned() const noexcept { return Algorithm::is_owned(memory_); }
  /// How many releases the calling thread owes; 0 unless it owns the lock.
  std::uint32_t depth() const noexcept { return is_owned() ? memory_.depth.load() : 0; }
  /// The thread id of the owner, 0 when the lock is free. Another thread's answer is a snapshot.
  pid_t owner() const noexcept { return static_cast<pid_t>(detail::owner_of(word())); }
  /// Whether an owner died, or gave the lock up unrepaired, and nobody has called repaired() since.
  bool needs_repair() const noexcept { return (word() & detail::owner_died_bit) != 0; }

  // The standard's TimedLockable, for std::lock_guard, unique_lock and scoped_lock. They cannot tell of a
  // death: where acquire() would return `inherited`, they leave the lock to be inherited and throw
  // std::errc::owner_dead, until somebody has acquired it and called repaired().
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
