// Lockable: a base class that makes an object's methods safe to call from many processes and threads.
#ifndef HEIRLOCK_LOCKABLE_HPP
#define HEIRLOCK_LOCKABLE_HPP

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "heirlock/shared.hpp"

namespace heirlock {
inline namespace v0_1 {

/// A base class for objects whose methods are called from many processes and threads: derive, and run the
/// body of each shared method under locked(). A locked method may call another.
///
///   struct Counter : heirlock::Lockable {
///     int increment() { return locked([&] { return ++*value; }); }
///     void recover() override {}       // no method leaves the number half-written
///     heirlock::Shared<int> value{0};  // live state must be shared as well
///   };
///
/// The object itself is local to each process; the lock, and what the object keeps in Shared<T>, is not. When
/// the owner of the lock dies, the next one to acquire runs recover() before it goes on.
///
/// Errors: as ReentrantLock, and what recover() throws. The constructors also throw as Shared<T> does.
///
/// All objects of one name in a process, and each Shared<ReentrantLock> of that name, are handles of one
/// lock: what was acquired through one can be released through any. Destroying the last of them, or an object
/// with a lock of its own, gives up a lock that the calling thread still holds, as the thread's death would:
/// the next owner inherits. No other thread of the process may be using that object then. An object over a
/// lock in the user's memory leaves it as it is.
/// An object in static storage leaves its lock mapped: detached threads may outlive main().
class HEIRLOCK_CAPABILITY Lockable {
 public:
  Lockable(const Lockable&) = delete;
  Lockable& operator=(const Lockable&) = delete;
  virtual ~Lockable();

  /// Takes the lock; waits for it if `blocking`. Returns whether the caller has it now.
  /// Passes on what recover() throws; the caller does not have the lock then.
  bool acquire(bool blocking = true) HEIRLOCK_TRY_ACQUIRES {
    return settle(blocking ? lock_->acquire() : lock_->try_acquire());
  }

  /// Waits for the lock at least for `timeout`. A negative timeout counts as zero; it is ignored unless
  /// `blocking`. Throws std::invalid_argument if it is NaN.
  template <class Rep, class Period>
  bool acquire(bool blocking, std::chrono::duration<Rep, Period> timeout) HEIRLOCK_TRY_ACQUIRES {
    return settle(blocking ? lock_->acquire_for(timeout) : lock_->try_acquire());
  }

  /// No timeout: waits for ever if `blocking`.
  bool acquire(bool blocking, std::nullopt_t) HEIRLOCK_TRY_ACQUIRES { return acquire(blocking); }
  template <class Rep, class Period>
  bool acquire(bool blocking,
               std::optional<std::chrono::duration<Rep, Period>> timeout) HEIRLOCK_TRY_ACQUIRES {
    return timeout ? acquire(blocking, *timeout) : acquire(blocking);
  }

  /// Gives back one acquire; the last one frees the lock. Throws AssertionError unless the caller owns it.
  void release() HEIRLOCK_RELEASES { lock_->release(); }

  // The standard's TimedLockable, for std::lock_guard, unique_lock and scoped_lock.
  void lock() HEIRLOCK_ACQUIRES { static_cast<void>(settle(lock_->acquire())); }
  bool try_lock() HEIRLOCK_TRY_ACQUIRES { return acquire(false); }
  void unlock() HEIRLOCK_RELEASES { release(); }
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> timeout) HEIRLOCK_TRY_ACQUIRES {
    return settle(lock_->acquire_for(timeout));
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> deadline) HEIRLOCK_TRY_ACQUIRES {
    return settle(lock_->acquire_until(deadline));
  }

  /// Returns f(), run while holding the lock; released on return and on an exception.
  template <class F>
  decltype(auto) locked(F&& f) {
    const Holder holder(*this);
    return std::invoke(std::forward<F>(f));
  }
  /// The same for a const method. The lock is no part of the object's value.
  template <class F>
  decltype(auto) locked(F&& f) const {
    const Holder holder(const_cast<Lockable&>(*this));
    return std::invoke(std::forward<F>(f));
  }

  /// The lock itself, for its owner(), depth() and needs_repair(). What is acquired through it calls no
  /// recover().
  ReentrantLock& mutex() noexcept { return *lock_; }
  /// Whether the name still leads to this lock, as Shared has it; false for a lock without a name.
  bool is_named() const noexcept { return own_ && own_->is_named(); }

 protected:
  /// A lock of its own, shared with the children that are forked while the object lives.
  Lockable();
  /// The lock with this name, made if there is none; see Shared for names. It lives until
  /// Shared<ReentrantLock>::remove(name).
  explicit Lockable(std::string_view name);
  /// A lock in memory of the caller's own, which outlives the object.
  explicit Lockable(ReentrantLock& placed_by_user) noexcept;

  /// Mends the shared state after the death of an owner. Called with the lock held once, by the acquire that
  /// inherits it, before that acquire returns; may call locked methods. If it throws, the lock is released,
  /// the exception goes to the caller of acquire, and the next to acquire recovers again. Override it: finish
  /// the work of a method that was killed between any two of its stores, undo it, or reset the state. An
  /// empty body declares that nothing can be half-written. The default throws std::system_error with
  /// std::errc::owner_dead: a program that cannot mend leaves it to one that can.
  virtual void recover();

 private:
  // Releases at the end of locked(). A release that fails, because f() itself has given up the lock, throws;
  // but not while another exception passes. To ask for one takes as long as acquiring.
  class Holder {
   public:
    explicit Holder(Lockable& object) HEIRLOCK_NO_THREAD_SAFETY : object_(object) { object_.lock(); }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() noexcept(false) HEIRLOCK_NO_THREAD_SAFETY {
      if (object_.lock_->is_owned() || std::uncaught_exceptions() == 0) object_.release();
    }

   private:
    Lockable& object_;
  };

  bool settle(AcquireResult result) {
    if (HEIRLOCK_UNLIKELY(result == AcquireResult::not_acquired)) return false;
    if (HEIRLOCK_UNLIKELY(result == AcquireResult::inherited)) mend();
    return true;
  }
  void mend();

  std::optional<Shared<ReentrantLock>> own_;  // none when placed by the user
  ReentrantLock* lock_;
};

/// A method as a function that locks the object it is called on: locked<&Counter::increment>(counter,
/// args...), where `counter` is an object or a pointer to one.
template <auto Method>
inline constexpr auto locked = [](auto&& object, auto&&... args) -> decltype(auto) {
  const auto call = [&](auto& target) -> decltype(auto) {
    return target.locked([&]() -> decltype(auto) {
      return std::invoke(Method, target, std::forward<decltype(args)>(args)...);
    });
  };
  if constexpr (std::is_base_of_v<Lockable, std::decay_t<decltype(object)>>)
    return call(object);
  else
    return call(*object);  // a pointer, plain or smart
};

}  // namespace v0_1
}  // namespace heirlock
#endif
