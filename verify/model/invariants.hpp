// The invariants of SPECIFICATION.md, section 4, as one predicate: what of them can be seen between two
// steps. CheckedLock sees the rest, at the end of each operation.
#ifndef HEIRLOCK_VERIFY_MODEL_INVARIANTS_HPP
#define HEIRLOCK_VERIFY_MODEL_INVARIANTS_HPP

#include "model/scenario.hpp"

namespace heirlock::verify {

inline bool lists(const ModelThread& thread, const Lock& lock) {
  for (Link at = thread.first; at != ModelPlatform::head(thread);
       at = reinterpret_cast<Lock*>(at)->next.load())
    if (at == ModelPlatform::link_to(lock)) return true;
  return false;
}

/// The name of an invariant that does not hold between two steps, or null. `owner_before` is the owner part
/// of the word before the step that the running thread has just made.
inline const char* broken_invariant(const Kernel& kernel, const CheckedLock& checked,
                                    std::uint32_t owner_before) {
  const Lock& lock = checked.memory;
  const std::uint32_t word = lock.word.value_now();
  const std::uint32_t owner = detail::owner_of(word);
  if (owner_before != 0 && owner != owner_before && kernel.me().tid != owner_before)
    return "INV-OWNER: a thread has moved the owner part away from another one";
  for (const ModelThread& thread : kernel.threads) {
    if (thread.tid == 0) continue;
    const bool is_pending = thread.pending == ModelPlatform::link_to(lock);
    if (thread.sleeps_on == &lock.word && (word & detail::waiters_bit) == 0)
      return "INV-WAITERS: a thread sleeps, and the word does not say so";
    if (thread.sleeps_on == &lock.word && !is_pending) return "INV-PENDING: a thread sleeps without its mark";
    if (thread.tid == owner && !is_pending && !lists(thread, lock))
      return "INV-LIST: a held lock is neither on its owner's list nor pending";
  }
  if (checked.is_held() && lock.depth.load() == 0) return "INV-DEPTH: a held lock has depth 0";
  return nullptr;
}

}  // namespace heirlock::verify
#endif
