#include "property/lock_by_hand.hpp"

#include "support/lock_over.hpp"

namespace property {
namespace {

thread_local const std::atomic<bool>* clock_of_thread = nullptr;

struct ByHand : support::PlatformWithoutBackstop {
  static constexpr Deadline when_told = for_ever - 1;

  static bool has_passed(Deadline deadline) noexcept {
    return deadline == no_wait || (deadline == when_told && clock_of_thread->load());
  }
  static heirlock::detail::Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline,
                                     Patience& patience) noexcept {
    return PlatformWithoutBackstop::wait(word, seen, for_ever, patience);
  }
};
using View = support::LockOver<ByHand>;

}  // namespace

void LockByHand::set_clock(const std::atomic<bool>& time_is_over) noexcept {
  clock_of_thread = &time_is_over;
}

heirlock::AcquireResult LockByHand::acquire() {
  return View(*lock_).acquire(ByHand::for_ever);
}

heirlock::AcquireResult LockByHand::acquire_until_time_is_over() {
  return View(*lock_).acquire(ByHand::when_told);
}

heirlock::AcquireResult LockByHand::try_acquire() {
  return View(*lock_).acquire(ByHand::no_wait);
}

void LockByHand::release() {
  View(*lock_).release();
}

void LockByHand::repaired() {
  View(*lock_).repaired();
}

void LockByHand::abandon() {
  View(*lock_).abandon();
}

}  // namespace property
