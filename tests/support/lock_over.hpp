// The shipped algorithm over another Platform, on the bytes of a ReentrantLock.
#ifndef HEIRLOCK_TESTS_SUPPORT_LOCK_OVER_HPP
#define HEIRLOCK_TESTS_SUPPORT_LOCK_OVER_HPP

#include <cstdint>

#include "heirlock/reentrant_lock.hpp"

namespace support {

/// The shipped platform but for the backstop: no time-out of its own ends a sleep, and no owner is looked
/// for.
struct PlatformWithoutBackstop : heirlock::detail::LinuxPlatform {
  static heirlock::detail::Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                                     Patience&) noexcept {
    sleep(word, seen, deadline);
    return heirlock::detail::Wait::look_again;
  }
  static bool asks_this_time(Thread&) noexcept { return false; }
  static bool owner_is_gone(std::uint32_t) noexcept { return false; }
};

/// A view of a lock, to be used together with all who use its bytes as a ReentrantLock.
template <class Platform>
class LockOver {
 public:
  using Algorithm = heirlock::detail::LockAlgorithm<Platform>;

  explicit LockOver(heirlock::ReentrantLock& lock) noexcept : lock_(&lock) {}

  [[nodiscard]] heirlock::AcquireResult acquire(typename Platform::Deadline deadline) {
    return static_cast<heirlock::AcquireResult>(
        require_done(Algorithm::acquire(memory(), deadline), "acquire"));
  }
  void release() { require_done(Algorithm::release(memory()), "release"); }
  void repaired() { require_done(Algorithm::repaired(memory()), "repaired"); }
  void abandon() { Algorithm::abandon(memory()); }
  bool is_owned() const noexcept { return Algorithm::is_owned(memory()); }

  // The same fields of the same types at the same places, under another class's name. A translation unit that
  // touches them under this name only lets no compiler tell the two apart.
  typename Algorithm::Lock& memory() const noexcept {
    static_assert(sizeof(typename Algorithm::Lock) == sizeof(heirlock::ReentrantLock));
    return reinterpret_cast<typename Algorithm::Lock&>(*lock_);
  }

 private:
  heirlock::detail::Outcome require_done(heirlock::detail::Outcome outcome, const char* call) const {
    if (heirlock::detail::is_refused(outcome))
      heirlock::detail::throw_refusal(
          explained(outcome, reinterpret_cast<const heirlock::detail::LinuxLock&>(*lock_), call));
    return outcome;
  }

  heirlock::ReentrantLock* lock_;
};

}  // namespace support
#endif
