// The locks that the load can run on: heirlock's, and those that people use instead.
#ifndef HEIRLOCK_TESTS_STRESS_LOCK_HPP
#define HEIRLOCK_TESTS_STRESS_LOCK_HPP

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "support/clock.hpp"

namespace stress {

using namespace support;  // its clock

enum class LockKind { heirlock, pthread_robust, pthread, sem };
inline constexpr std::string_view lock_names[] = {"heirlock", "pthread-robust", "pthread", "sem"};

/// How long to wait for a lock. None: for ever. Zero: only try.
using Patience = std::optional<Nanoseconds>;

/// A reentrant lock in shared memory. Each process has its own copy of the object.
class Lock {
 public:
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  virtual ~Lock() = default;

  /// Returns whether the caller owns the lock now. Calls `recover` first if the last owner died.
  virtual bool acquire(Patience patience) = 0;
  /// Throws heirlock::AssertionError if the lock notices that the caller is not its owner.
  virtual void release() = 0;
  /// How often the caller holds the lock.
  virtual std::uint32_t depth() = 0;
  /// The owner's thread id, 0 if the lock is free, `unknown` if the lock cannot tell.
  virtual pid_t owner() = 0;

  static constexpr pid_t unknown = -1;

 protected:
  explicit Lock(std::function<void()> recover) : recover_(std::move(recover)) {}
  const std::function<void()> recover_;
};

std::unique_ptr<Lock> make_lock(LockKind kind, std::function<void()> recover);

}  // namespace stress
#endif
