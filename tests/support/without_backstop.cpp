#include "support/without_backstop.hpp"

namespace support {
namespace {

using heirlock::detail::LinuxLock;
using heirlock::detail::LinuxPlatform;
using heirlock::detail::LockMemory;

struct WithoutBackstop : LinuxPlatform {
  static heirlock::detail::Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                                     Patience&) noexcept {
    sleep(word, seen, deadline);
    return heirlock::detail::Wait::look_again;
  }
  static bool asks_before_giving_up(Deadline, Patience&) noexcept { return false; }
  [[noreturn]] static void refuse(heirlock::detail::Refusal why, const LockMemory<WithoutBackstop>& lock) {
    LinuxPlatform::refuse(why, reinterpret_cast<const LinuxLock&>(lock));
  }
};

using Algorithm = heirlock::detail::LockAlgorithm<WithoutBackstop>;
static_assert(sizeof(Algorithm::Lock) == sizeof(heirlock::ReentrantLock));

// The same fields of the same types at the same places, under another class's name. This translation unit
// touches them under this name only, so no compiler can tell the two apart.
Algorithm::Lock& memory_of(heirlock::ReentrantLock& lock) {
  return reinterpret_cast<Algorithm::Lock&>(lock);
}

}  // namespace

heirlock::AcquireResult LockWithoutBackstop::acquire() {
  return Algorithm::acquire(memory_of(*lock_), WithoutBackstop::for_ever);
}

heirlock::AcquireResult LockWithoutBackstop::try_acquire() {
  return Algorithm::acquire(memory_of(*lock_), WithoutBackstop::no_wait);
}

heirlock::AcquireResult LockWithoutBackstop::acquire_for(std::chrono::nanoseconds timeout) {
  if (timeout <= std::chrono::nanoseconds::zero()) return try_acquire();
  return Algorithm::acquire(memory_of(*lock_), heirlock::detail::deadline_after(timeout.count()));
}

void LockWithoutBackstop::release() {
  Algorithm::release(memory_of(*lock_));
}

void LockWithoutBackstop::repaired() {
  Algorithm::repaired(memory_of(*lock_));
}

bool LockWithoutBackstop::is_owned() const noexcept {
  return Algorithm::is_owned(memory_of(*lock_));
}

}  // namespace support
