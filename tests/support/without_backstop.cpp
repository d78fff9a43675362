#include "support/without_backstop.hpp"

#include "support/lock_over.hpp"

namespace support {
namespace {

using WithoutBackstop = PlatformWithoutBackstop;
using View = LockOver<WithoutBackstop>;

}  // namespace

heirlock::AcquireResult LockWithoutBackstop::acquire() {
  return View(*lock_).acquire(WithoutBackstop::for_ever);
}

heirlock::AcquireResult LockWithoutBackstop::try_acquire() {
  return View(*lock_).acquire(WithoutBackstop::no_wait);
}

heirlock::AcquireResult LockWithoutBackstop::acquire_for(std::chrono::nanoseconds timeout) {
  if (timeout <= std::chrono::nanoseconds::zero()) return try_acquire();
  return View(*lock_).acquire(WithoutBackstop::deadline_after(timeout.count()));
}

void LockWithoutBackstop::release() {
  View(*lock_).release();
}

void LockWithoutBackstop::repaired() {
  View(*lock_).repaired();
}

bool LockWithoutBackstop::is_owned() const noexcept {
  return View(*lock_).is_owned();
}

}  // namespace support
