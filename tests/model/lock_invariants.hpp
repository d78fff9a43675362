// The invariants of SPECIFICATION.md, section 4, as far as they can be seen between two steps: one predicate
// for the model checks and for a fuzz target, each of which has threads of its own kind.
#ifndef HEIRLOCK_TESTS_MODEL_LOCK_INVARIANTS_HPP
#define HEIRLOCK_TESTS_MODEL_LOCK_INVARIANTS_HPP

#include <cstdint>

#include "heirlock/detail/lock_algorithm.hpp"

namespace model {

/// A lock between two steps.
struct LockView {
  std::uint32_t word;
  std::uint32_t depth;
  bool is_held;                // some thread is between its acquire and its release
  std::uint32_t owner_before;  // the owner part before the last step
  std::uint32_t mover;         // who made that step
};

/// What a thread has to do with the lock.
struct ThreadView {
  std::uint32_t tid;
  bool sleeps_on_it;
  bool has_it_pending;
  bool lists_it;
};

/// The name of an invariant of the lock that does not hold, or null.
inline const char* broken_invariant(const LockView& lock) {
  if (lock.owner_before != 0 && heirlock::detail::owner_of(lock.word) != lock.owner_before &&
      lock.mover != lock.owner_before)
    return "INV-OWNER: a thread has moved the owner part away from another one";
  if (lock.is_held && lock.depth == 0) return "INV-DEPTH: a held lock has depth 0";
  return nullptr;
}

/// The name of an invariant that does not hold between the lock and one thread, or null.
inline const char* broken_invariant(const LockView& lock, const ThreadView& thread) {
  if (thread.sleeps_on_it && (lock.word & heirlock::detail::waiters_bit) == 0)
    return "INV-WAITERS: a thread sleeps, and the word does not say so";
  if (thread.sleeps_on_it && !thread.has_it_pending) return "INV-PENDING: a thread sleeps without its mark";
  if (thread.tid == heirlock::detail::owner_of(lock.word) && !thread.has_it_pending && !thread.lists_it)
    return "INV-LIST: a held lock is neither on its owner's list nor pending";
  return nullptr;
}

}  // namespace model
#endif
