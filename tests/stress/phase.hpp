// What the workers are to do at the moment, as the supervisor says.
#ifndef HEIRLOCK_TESTS_STRESS_PHASE_HPP
#define HEIRLOCK_TESTS_STRESS_PHASE_HPP

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace stress {

enum class Phase : std::uint32_t {
  roll_call,  // begin nothing new, so that it shows who still waits for the lock
  work,
  stop,
};

/// The phase, in shared memory. On a futex rather than by polling: a thousand threads that look again every
/// millisecond would be a load of their own.
class PhaseSign {
 public:
  Phase read() const noexcept { return phase_.load(std::memory_order_relaxed); }

  void set(Phase phase) noexcept {
    phase_.store(phase, std::memory_order_relaxed);
    syscall(SYS_futex, &phase_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }

  /// Sleeps while that is the phase; may return early.
  void wait_while(Phase phase) const noexcept {
    syscall(SYS_futex, &phase_, FUTEX_WAIT, static_cast<std::uint32_t>(phase), nullptr, nullptr, 0);
  }

 private:
  std::atomic<Phase> phase_{Phase::roll_call};
  static_assert(sizeof phase_ == sizeof(std::uint32_t), "a futex has 32 bits");
};

}  // namespace stress
#endif
