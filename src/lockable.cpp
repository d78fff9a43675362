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
                          "heirlock: an owner died, and recover() is not overridden; override it to repair "
                          "the data, or with an empty body if no data can be half-written");
}

void Lockable::mend() {
  try {
    recover();
    lock_->repaired();
  } catch (...) {
    // At the depth at which recover() left the lock.
    if (lock_->is_owned()) ReentrantLock::Algorithm::abandon(lock_->memory_);
    throw;
  }
}

}  // namespace heirlock
