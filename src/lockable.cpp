#include "heirlock/lockable.hpp"

namespace heirlock {

Lockable::Lockable() : own_(std::in_place), lock_(own_->get()), has_other_handles_(false) {}

Lockable::Lockable(std::string_view name)
    : own_(Shared<ReentrantLock>::open_or_create(name)), lock_(own_->get()), has_other_handles_(true) {}

Lockable::Lockable(ReentrantLock& placed_by_user) noexcept
    : lock_(&placed_by_user), has_other_handles_(true) {}

Lockable::~Lockable() {
  if (lock_->is_owned() && is_held_through_this()) ReentrantLock::Algorithm::abandon(lock_->memory_);
}

void Lockable::mend() {
  try {
    recover();
    lock_->repaired();
  } catch (...) {
    if (lock_->is_owned())
      ReentrantLock::Algorithm::abandon(lock_->memory_);  // at whatever depth recover() left
    throw;
  }
}

void Lockable::note_release() noexcept {
  if (held_ > 0 && lock_->is_owned()) --held_;
}

bool Lockable::is_held_through_this() const noexcept {
  if (!has_other_handles_ || held_ > 0) return true;
  // Taken through this object, kept through another, and this mapping about to go: the robust list must not
  // lead there.
  return own_ && ReentrantLock::Algorithm::is_linked_at(lock_->memory_);
}

}  // namespace heirlock
