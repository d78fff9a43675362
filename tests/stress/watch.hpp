// When a waiter counts as stranded.
#ifndef HEIRLOCK_TESTS_STRESS_WATCH_HPP
#define HEIRLOCK_TESTS_STRESS_WATCH_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "stress/faults.hpp"

namespace stress {

/// A waiter counts as stranded after waiting this long for a free lock. If a thread other than the first of
/// its process calls exec, the kernel does not tell the waiters: they check the owner themselves, once a
/// second.
inline Nanoseconds stranded_after(const Faults& faults) noexcept {
  return faults[index_of(Fault::exec_thread)] ? 3 * second : 2 * second;
}

/// What the lock says while a waiter is stranded.
enum class Obstacle {
  nobody,         // the lock is free
  dead_owner,     // the owner is dead
  unaware_owner,  // the owner does not know that it is the owner: it waits for the lock, or does other things
  unknown_owner,  // the lock is not free but does not know its owner
};
inline constexpr std::size_t obstacles = 4;

/// Tells from regular looks at the lock how long a thread has waited while the lock was free without a break.
///
/// To wait for 2 s and then see the lock free is not enough: a lock in use is free a million times a second,
/// and a waiter that others overtake is starved, not stranded. "Without a break" means that the lock was free
/// at every look, that no visit began between two looks, and that the looks were close to each other. (After
/// a gap, because the supervisor was stopped or the machine slept, nothing is known of the time between.)
class FreeLockWatch {
 public:
  static constexpr Nanoseconds widest_gap = second / 4;

  /// One look: whether the lock is free, and how many visits have begun so far.
  void look(Nanoseconds moment, bool is_free, std::uint64_t visits) noexcept {
    const bool unbroken = was_free_ && is_free && visits == visits_ && moment - looked_at_ <= widest_gap;
    if (!unbroken) free_since_ = moment;
    was_free_ = is_free;
    visits_ = visits;
    looked_at_ = moment;
  }

  /// How long, up to the last look, the lock was free without a break during the wait that began then.
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
