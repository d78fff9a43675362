// When a waiter counts as stranded.
#ifndef HEIRLOCK_TESTS_STRESS_WATCH_HPP
#define HEIRLOCK_TESTS_STRESS_WATCH_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "stress/clock.hpp"
#include "stress/faults.hpp"

namespace stress {

/// How long a waiter has to wait for a free lock to count as stranded. A thread that is not the first of its
/// process and calls exec leaves a lock of which the kernel says nothing: the waiters look after its owner by
/// themselves, and may take a second to do so.
inline Nanoseconds stranded_after(const Faults& faults) noexcept {
  return faults[index_of(Fault::exec_thread)] ? 3 * second : 2 * second;
}

/// Behind what somebody is stranded: what the lock says then.
enum class Obstacle {
  nobody,         // it is free
  dead_owner,     // its owner is dead
  unaware_owner,  // its owner does not know that it is the owner: it waits for it, or does other things
  unknown_owner,  // it is not free, and does not know whose it is
};
inline constexpr std::size_t obstacles = 4;

/// Follows the lock from sample to sample and tells how long a thread has waited while it was free.
///
/// A waiter is stranded when it has waited over 2 s (or 3 s, see above) during which the lock was free
/// without a break. That it has waited for 2 s and the lock is free at this moment would not do: a lock in
/// use is free a million times a second, and a waiter that others overtake is starved, not stranded. Without
/// a break means: free at every look, nobody came in between two looks, and the looks are close to each
/// other, or else (the supervisor was stopped, the machine slept) nothing is known of the time between.
class FreeLockWatch {
 public:
  static constexpr Nanoseconds widest_gap = second / 4;

  /// One look: whether the lock is free, and how often anybody has come in so far.
  void look(Nanoseconds moment, bool is_free, std::uint64_t visits) noexcept {
    const bool unbroken = was_free_ && is_free && visits == visits_ && moment - looked_at_ <= widest_gap;
    if (!unbroken) free_since_ = moment;
    was_free_ = is_free;
    visits_ = visits;
    looked_at_ = moment;
  }

  /// How much of the wait that began then, and has not ended, fell into the time up to the last look in which
  /// the lock was free without a break.
  Nanoseconds waited_while_free(Nanoseconds waiting_since) const noexcept {
    return std::max(looked_at_ - std::max(waiting_since, free_since_), Nanoseconds{0});
  }

 private:
  bool was_free_ = false;
  std::uint64_t visits_ = 0;
  Nanoseconds looked_at_ = 0;
  Nanoseconds free_since_ = 0;
};

}  // namespace stress
#endif
