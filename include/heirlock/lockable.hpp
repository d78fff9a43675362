// Lockable: a base class for objects whose methods are called from many processes and threads.
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

/// A base class for objects whose methods are called from many processes and threads. Derive from it and run
/// the body of each shared method under locked(). A locked method may call another.
///
///   struct Counter : heirlock::Lockable {
///     int increment() { return locked([&] { return ++*value; }); }
///     void recover() override {}       // no method leaves the number half-written
///     heirlock::Shared<int> value{0};  // the data must be in shared memory, too
///   };
///
/// Each process has its own copy of the object. Only the lock, and data in a Shared<T>, is shared. When the
/// owner of the lock dies, the next thread to acquire the lock runs recover() first.
///
/// Errors: those of ReentrantLock, and what recover() throws. The constructors also throw as Shared<T> does.
///
/// In one process, all objects of one name, and all Shared<ReentrantLock> of that name, are handles of one
/// lock: a lock acquired through one can be released through another. Destroying the last handle, or an
/// object with an anonymous lock, frees the lock if the calling thread still holds it; the next owner
/// inherits, as after a death. No other thread of the process may use the object at that time. If the lock is
/// in the user's memory, destroying the object does not change it. If the object is in static storage, its
/// lock stays mapped, as detached threads may outlive main().
class HEIRLOCK_CAPABILITY Lockable {
 public:
  Lockable(const Lockable&) = delete;
  Lockable& operator=(const Lockable&) = delete;
  virtual ~Lockable();

  /// Acquires the lock; waits for it if `blocking`. Returns whether the caller owns it now.
  /// If recover() throws, so does this, and the caller does not own the lock.
  bool acquire(bool blocking = true) HEIRLOCK_TRY_ACQUIRES {
    return settle(blocking ? lock_->acquire() : lock_->try_acquire());
  }

  /// As acquire(blocking), but returns false after `timeout`, and not earlier. A negative timeout counts as
  /// zero. Unless `blocking`, the timeout is ignored. Throws std::invalid_argument if the timeout is NaN.
  template <class Rep, class Period>
  bool acquire(bool blocking, std::chrono::duration<Rep, Period> timeout) HEIRLOCK_TRY_ACQUIRES {
    return settle(blocking ? lock_->acquire_for(timeout) : lock_->try_acquire());
  }

  /// std::nullopt means no timeout.
  bool acquire(bool blocking, std::nullopt_t) HEIRLOCK_TRY_ACQUIRES { return acquire(blocking); }
  template <class Rep, class Period>
  bool acquire(bool blocking,
               std::optional<std::chrono::duration<Rep, Period>> timeout) HEIRLOCK_TRY_ACQUIRES {
    return timeout ? acquire(blocking, *timeout) : acquire(blocking);
  }

  /// Undoes one acquire. The last release frees the lock. Throws AssertionError unless the caller owns it.
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

  /// Returns f(), called with the lock held. The lock is released on return and on an exception.
  template <class F>
  decltype(auto) locked(F&& f) {
    const Holder holder(*this);
    return std::invoke(std::forward<F>(f));
  }
  /// The same for const methods: the lock is not part of the object's value.
  template <class F>
  decltype(auto) locked(F&& f) const {
    const Holder holder(const_cast<Lockable&>(*this));
    return std::invoke(std::forward<F>(f));
  }

  /// The lock, for its owner(), depth() and needs_repair(). Acquiring it directly does not call recover().
  ReentrantLock& mutex() noexcept { return *lock_; }
  /// Whether the name still leads to this lock; see Shared::is_named(). False for a lock without a name.
  bool is_named() const noexcept { return own_ && own_->is_named(); }

 protected:
  /// An anonymous lock, shared with the children that are forked while the object lives.
  Lockable();
  /// The lock with this name, created if there is none; see Shared for names. It lives until
  /// Shared<ReentrantLock>::remove(name).
  explicit Lockable(std::string_view name);
  /// A lock in the user's own memory, which must outlive the object.
  explicit Lockable(ReentrantLock& placed_by_user) noexcept;

  /// Repairs the shared data after the death of an owner. The acquire that inherits the lock calls this, with
  /// the lock held at depth 1, before it returns. May call locked methods.
  /// Override it: a method may have been killed between any two of its stores; finish its work, undo it, or
  /// reset the data. An empty body declares that no data can be half-written.
  /// If recover() throws, the lock is released, the caller of acquire gets the exception, and the next
  /// acquire calls recover() again. The default throws std::system_error with std::errc::owner_dead: a
  /// program that cannot repair the data leaves that to one that can.
  virtual void recover();

 private:
  // Holds the lock during locked(). If f() has released the lock itself, release() throws, unless another
  // exception is under way. is_owned() comes first as uncaught_exceptions() takes as long as an acquire.
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

  std::optional<Shared<ReentrantLock>> own_;  // none if the lock is in the user's memory
  ReentrantLock* lock_;
};

/// A function that calls a method with the object's lock held: locked<&Counter::increment>(counter, args...),
/// where `counter` is an object or a pointer to one.
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
