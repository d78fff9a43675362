#include "property/lock_by_hand.hpp"

namespace property {
namespace {

using heirlock::detail::LinuxLock;
using heirlock::detail::LinuxPlatform;
using heirlock::detail::LockMemory;

thread_local const std::atomic<bool>* clock_of_thread = nullptr;

struct ByHand : LinuxPlatform {
  static constexpr Deadline when_told = for_ever - 1;

  static bool has_passed(Deadline deadline) noexcept {
    return deadline == no_wait || (deadline == when_told && clock_of_thread->load());
  }
  static heirlock::detail::Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline,
                                     Patience&) noexcept {
    sleep(word, seen, for_ever);
    return heirlock::detail::Wait::look_again;
  }
  static bool asks_before_giving_up(Deadline, Patience&) noexcept { return false; }
  [[noreturn]] static void refuse(heirlock::detail::Refusal why, const LockMemory<ByHand>& lock) {
    LinuxPlatform::refuse(why, reinterpret_cast<const LinuxLock&>(lock));
  }
};

using Algorithm = heirlock::detail::LockAlgorithm<ByHand>;
static_assert(sizeof(Algorithm::Lock) == sizeof(heirlock::ReentrantLock));

// The same fields of the same types at the same places, under another class's name, and touched under this
// name only in this translation unit.
Algorithm::Lock& memory_of(heirlock::ReentrantLock& lock) {
  return reinterpret_cast<Algorithm::Lock&>(lock);
}

}  // namespace

void LockByHand::set_clock(const std::atomic<bool>& time_is_over) noexcept {
  clock_of_thread = &time_is_over;
}

heirlock::AcquireResult LockByHand::acquire() {
  return Algorithm::acquire(memory_of(*lock_), ByHand::for_ever);
}

heirlock::AcquireResult LockByHand::acquire_until_time_is_over() {
  return Algorithm::acquire(memory_of(*lock_), ByHand::when_told);
}

heirlock::AcquireResult LockByHand::try_acquire() {
  return Algorithm::acquire(memory_of(*lock_), ByHand::no_wait);
}

void LockByHand::release() {
  Algorithm::release(memory_of(*lock_));
}

void LockByHand::repaired() {
  Algorithm::repaired(memory_of(*lock_));
}

void LockByHand::abandon() {
  Algorithm::abandon(memory_of(*lock_));
}

}  // namespace property
