#include "lock.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "support/lock_over.hpp"

namespace crash {
namespace {

using heirlock::AcquireResult;
using heirlock::detail::Order;
using heirlock::detail::Wait;

thread_local bool time_is_over = false;
thread_local std::int64_t one_sleep = 0;

thread_local Pause* pause = nullptr;

struct Platform : support::PlatformWithoutBackstop {
  static void step_aside(Atomic<std::uint32_t>&, Deadline, Patience&) noexcept {
    if (pause != nullptr && pause->of == Pause::Of::an_owner) pause->last();
  }
  static bool spin(Patience& patience) noexcept {
    constexpr std::uint32_t spins = 2;
    return patience.pauses++ < spins;
  }
  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                   Patience& patience) noexcept {
    if (pause != nullptr && pause->of == Pause::Of::a_waiter && std::exchange(patience.was_woken, false)) {
      pause->last();
      return Wait::look_again;
    }
    const bool is_timed = deadline != for_ever;
    patience.was_woken = sleep(word, seen, is_timed ? deadline_after(one_sleep) : for_ever) == Sleep::woken;
    if (is_timed) time_is_over = true;
    return Wait::look_again;
  }
  static bool has_passed(Deadline deadline) noexcept {
    return LinuxPlatform::has_passed(deadline) || (deadline != for_ever && time_is_over);
  }
};
using View = support::LockOver<Platform>;

}  // namespace

void Pause::last() noexcept {
  while (is_over == 0) syscall(SYS_futex, &is_over, FUTEX_WAIT, 0, nullptr, nullptr, 0);
}

void Pause::end() noexcept {
  is_over = 1;
  syscall(SYS_futex, &is_over, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void Lock::pause_here(Pause& here) {
  pause = &here;
}

AcquireResult Lock::acquire() {
  return View(*lock_).acquire(Platform::for_ever);
}

AcquireResult Lock::try_acquire() {
  return View(*lock_).acquire(Platform::no_wait);
}

AcquireResult Lock::acquire_for_one_sleep(std::int64_t nanoseconds) {
  constexpr std::int64_t more_than_stepping_takes = 100'000'000'000;
  time_is_over = false;
  one_sleep = nanoseconds;
  const AcquireResult at_once = try_acquire();
  if (at_once != AcquireResult::not_acquired) return at_once;
  return View(*lock_).acquire(Platform::deadline_after(more_than_stepping_takes));
}

void Lock::release() {
  View(*lock_).release();
}

void Lock::repaired() {
  View(*lock_).repaired();
}

bool Lock::is_owned() const noexcept {
  return View(*lock_).is_owned();
}

std::uint32_t Lock::word() const noexcept {
  return View(*lock_).memory().word.load(Order::relaxed);
}

std::uint32_t Lock::depth() const noexcept {
  return View(*lock_).memory().depth.load();
}

void Lock::set_quiet() {
  auto& lock = View(*lock_).memory();
  Platform::quiet(heirlock::detail::this_thread_record, lock) = &lock;
}

}  // namespace crash
