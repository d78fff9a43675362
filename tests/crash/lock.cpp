#include "lock.hpp"

namespace crash {
namespace {

using heirlock::AcquireResult;
using heirlock::detail::LinuxPlatform;
using heirlock::detail::LockMemory;
using heirlock::detail::Order;
using heirlock::detail::Wait;

constexpr std::int64_t one_sleep = 10'000'000;  // nanoseconds: long enough to be seen asleep

thread_local bool time_is_over = false;

struct Platform : LinuxPlatform {
  static bool spin(Patience& patience) noexcept {
    constexpr std::uint32_t spins = 2;
    return patience.spins < spins && LinuxPlatform::spin(patience);
  }
  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline, Patience&) noexcept {
    const bool is_timed = deadline != for_ever;
    const bool timed_out =
        sleep(word, seen, is_timed ? heirlock::detail::deadline_after(one_sleep) : for_ever);
    if (timed_out) time_is_over = true;
    return Wait::look_again;
  }
  static bool has_passed(Deadline deadline) noexcept {
    return LinuxPlatform::has_passed(deadline) || (deadline != for_ever && time_is_over);
  }
  static bool asks_before_giving_up(Deadline, Patience&) noexcept { return false; }
  [[noreturn]] static void refuse(heirlock::detail::Refusal why, const LockMemory<Platform>& lock) {
    LinuxPlatform::refuse(why, reinterpret_cast<const heirlock::detail::LinuxLock&>(lock));
  }
};

using Algorithm = heirlock::detail::LockAlgorithm<Platform>;
static_assert(sizeof(Algorithm::Lock) == sizeof(heirlock::ReentrantLock));

// The same fields of the same types at the same places, under another class's name. This translation unit
// touches them under this name only, so no compiler can tell the two apart.
Algorithm::Lock& memory_of(heirlock::ReentrantLock& lock) {
  return reinterpret_cast<Algorithm::Lock&>(lock);
}

}  // namespace

AcquireResult Lock::acquire() {
  return Algorithm::acquire(memory_of(*lock_), Platform::for_ever);
}

AcquireResult Lock::try_acquire() {
  return Algorithm::acquire(memory_of(*lock_), Platform::no_wait);
}

AcquireResult Lock::acquire_for_one_sleep() {
  constexpr std::int64_t more_than_stepping_takes = 100'000'000'000;
  time_is_over = false;
  const AcquireResult at_once = try_acquire();
  if (at_once != AcquireResult::not_acquired) return at_once;
  return Algorithm::acquire(memory_of(*lock_), heirlock::detail::deadline_after(more_than_stepping_takes));
}

void Lock::release() {
  Algorithm::release(memory_of(*lock_));
}

void Lock::repaired() {
  Algorithm::repaired(memory_of(*lock_));
}

bool Lock::is_owned() const noexcept {
  return Algorithm::is_owned(memory_of(*lock_));
}

std::uint32_t Lock::word() const noexcept {
  return memory_of(*lock_).word.load(Order::relaxed);
}

std::uint32_t Lock::depth() const noexcept {
  return memory_of(*lock_).depth.load();
}

void Lock::set_quiet() {
  auto& lock = memory_of(*lock_);
  Platform::quiet(Platform::this_thread(), lock) = &lock;
}

}  // namespace crash
