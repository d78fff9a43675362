// The invariants of SPECIFICATION.md, section 4, between two steps of the model. CheckedLock sees the rest, at
// the end of each operation.
#ifndef HEIRLOCK_VERIFY_MODEL_INVARIANTS_HPP
#define HEIRLOCK_VERIFY_MODEL_INVARIANTS_HPP

#include "model/lock_invariants.hpp"
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
  const model::LockView view{lock.word.value_now(), checked.is_held() ? lock.depth.load() : 0,
                             checked.is_held(), owner_before, kernel.me().tid};
  if (const char* const broken = model::broken_invariant(view)) return broken;
  for (const ModelThread& thread : kernel.threads) {
    if (thread.tid == 0) continue;
    const bool is_pending = thread.pending == ModelPlatform::link_to(lock);
    const bool must_list = is_owner(thread, lock) && !is_pending;  // no other's list may be looked at
    const model::ThreadView relation{thread.tid, thread.sleeps_on == &lock.word, is_pending,
                                     must_list && lists(thread, lock)};
    if (const char* const broken = model::broken_invariant(view, relation)) return broken;
  }
  return nullptr;
}

}  // namespace heirlock::verify
#endif
