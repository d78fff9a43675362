// The locks that people use instead, in the clothes of a heirlock::Lockable, so that the same load runs on
// them.
#ifndef HEIRLOCK_TESTS_STRESS_SUBSTITUTE_HPP
#define HEIRLOCK_TESTS_STRESS_SUBSTITUTE_HPP

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

#include "stress/options.hpp"

namespace stress {

/// A lock in shared memory. The object is local to a process.
class Alternative {
 public:
  enum class Taken { no, yes, from_the_dead };
  using Patience = std::optional<std::chrono::nanoseconds>;  // none: for ever; zero: try

  virtual ~Alternative() = default;
  virtual Taken take(Patience patience) = 0;
  /// Throws heirlock::AssertionError if this lock notices that it is not the caller's.
  virtual void give() = 0;
  /// After Taken::from_the_dead, before anything else.
  virtual void accept_inheritance() {}
  /// The owner's thread id, 0 when the lock is free, `somebody` when it does not know.
  virtual pid_t owner() const = 0;
  virtual std::uint32_t depth() const = 0;

  static constexpr pid_t somebody = -1;
};

/// Recursive and process-shared. For any kind but LockKind::heirlock.
std::unique_ptr<Alternative> make_alternative(LockKind kind);

/// What of a Lockable the bank uses.
class Substitute {
 public:
  explicit Substitute(LockKind kind) : lock_(make_alternative(kind)) {}
  Substitute(Substitute&&) = delete;
  virtual ~Substitute() = default;

  bool acquire(bool blocking = true) {
    return settle(lock_->take(blocking ? std::nullopt : Alternative::Patience(0)));
  }
  bool acquire(bool, std::chrono::nanoseconds patience) { return settle(lock_->take(patience)); }
  void release() { lock_->give(); }
  void lock() { acquire(); }
  void unlock() { release(); }
  template <class F>
  decltype(auto) locked(F&& f) {
    const Holder holder(*this);
    return std::invoke(std::forward<F>(f));
  }

  Substitute& mutex() noexcept { return *this; }
  bool is_owned() const { return lock_->depth() > 0; }
  pid_t owner() const { return lock_->owner(); }
  std::uint32_t depth() const { return lock_->depth(); }

 protected:
  virtual void recover() {}

 private:
  // Without a word when the lock is no longer its holder's: some of these locks lose it, and the bank's own
  // checks tell.
  class Holder {
   public:
    explicit Holder(Substitute& object) : object_(object) { object_.lock(); }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() {
      if (object_.is_owned()) object_.release();
    }

   private:
    Substitute& object_;
  };

  bool settle(Alternative::Taken taken) {
    if (taken == Alternative::Taken::from_the_dead) {
      lock_->accept_inheritance();  // who is killed while it recovers leaves the lock to be inherited again
      recover();
    }
    return taken != Alternative::Taken::no;
  }

  std::unique_ptr<Alternative> lock_;
};

}  // namespace stress
#endif
