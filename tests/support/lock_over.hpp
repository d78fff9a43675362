// The shipped algorithm over another Platform, on the bytes of a ReentrantLock.
#ifndef HEIRLOCK_TESTS_SUPPORT_LOCK_OVER_HPP
#define HEIRLOCK_TESTS_SUPPORT_LOCK_OVER_HPP

#include <cstdint>

#include "heirlock/reentrant_lock.hpp"

namespace support {

/// The shipped platform but for the backstop: no time-out of its own ends a sleep, and no owner is looked
/// for. `Derived` is the platform made from it.
template <class Derived>
struct PlatformWithoutBackstop : heirlock::detail::LinuxPlatform {
  static heirlock::detail::Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                                     Patience&) noexcept {
    sleep(word, seen, deadline);
    return heirlock::detail::Wait::look_again;
  }
  static bool asks_before_giving_up(Deadline, Patience&) noexcept { return false; }
  [[noreturn]] static void refuse(heirlock::detail::Refusal why,
                                  const heirlock::detail::LockMemory<Derived>& lock) {
    LinuxPlatform::refuse(why, reinterpret_cast<const heirlock::detail::LinuxLock&>(lock));
  }
};

/// A view of a lock, to be used together with all who use its bytes as a ReentrantLock.
template <class Platform>
class LockOver {
 public:
  using Algorithm = heirlock::detail::LockAlgorithm<Platform>;

  explicit LockOver(heirlock::ReentrantLock& lock) noexcept : lock_(&lock) {}

  [[nodiscard]] heirlock::AcquireResult acquire(typename Platform::Deadline deadline) {
    return Algorithm::acquire(memory(), deadline);
  }
  void release() { Algorithm::release(memory()); }
  void repaired() { Algorithm::repaired(memory()); }
  void abandon() { Algorithm::abandon(memory()); }
  bool is_owned() const noexcept { return Algorithm::is_owned(memory()); }

  // The same fields of the same types at the same places, under another class's name. A translation unit that
  // touches them under this name only lets no compiler tell the two apart.
  typename Algorithm::Lock& memory() const noexcept {
    static_assert(sizeof(typename Algorithm::Lock) == sizeof(heirlock::ReentrantLock));
    return reinterpret_cast<typename Algorithm::Lock&>(*lock_);
  }

 private:
  heirlock::ReentrantLock* lock_;
};

}  // namespace support
#endif
