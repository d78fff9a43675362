#include "heirlock/lockable.hpp"

namespace heirlock {

Lockable::Lockable() : own_(std::in_place), lock_(own_->get()) {}

Lockable::Lockable(std::string_view name)
    : own_(Shared<ReentrantLock>::open_or_create(name)), lock_(own_->get()) {}

Lockable::Lockable(ReentrantLock& placed_by_user) noexcept : lock_(&placed_by_user) {}

Lockable::~Lockable() {
  if (own_) own_->mapping_.end(&lock_->memory_);
}

void Lockable::recover() {
  throw std::system_error(std::make_error_code(std::errc::owner_dead),
                          "heirlock: an owner died, and recover() is not overridden; override it to mend "
                          "what the lock guards, or "
                          "with an empty body if nothing can be half-written");
}

void Lockable::mend() {
  try {
    recover();
    lock_->repaired();
  } catch (...) {
    // At whatever depth recover() left.
    if (lock_->is_owned()) ReentrantLock::Algorithm::abandon(lock_->memory_);
    throw;
  }
}

}  // namespace heirlock
