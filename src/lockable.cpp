#include "heirlock/lockable.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace heirlock {
namespace {

std::uint64_t id_of_calling_thread() noexcept {
  const detail::LinuxThread* const me = detail::LinuxPlatform::known_thread();
  return me != nullptr ? me->id : 0;
}

bool is_thread_of_this_process(pid_t tid) noexcept {
  if (tid == 0) return false;
  const int errno_before = errno;
  const bool is_here = syscall(SYS_tgkill, getpid(), tid, 0) == 0;
  errno = errno_before;
  return is_here;
}

}  // namespace

Lockable::Lockable() : own_(std::in_place), lock_(own_->get()), has_other_handles_(false) {}

Lockable::Lockable(std::string_view name)
    : own_(Shared<ReentrantLock>::open_or_create(name)), lock_(own_->get()), has_other_handles_(true) {}

Lockable::Lockable(ReentrantLock& placed_by_user) noexcept
    : lock_(&placed_by_user), has_other_handles_(true) {}

Lockable::~Lockable() {
  if (is_held_through_this()) ReentrantLock::Algorithm::abandon(lock_->memory_);
  if (own_ && is_listed_by_another()) own_->mapping_.keep();
}

// A thread that took the lock through this object, and by now holds it through another of the same name, has
// it on its robust list at this address. One that took it through the other has not.
bool Lockable::is_listed_by_another() const noexcept {
  const bool may_be_here = !has_other_handles_ || was_shown_.load(std::memory_order_relaxed) ||
                           lock_->memory_.owner_id.load(detail::Order::relaxed) == taken_by_;
  return may_be_here && is_thread_of_this_process(lock_->owner());
}

void Lockable::mend() {
  try {
    recover();
    lock_->repaired();
  } catch (...) {
    if (lock_->is_owned()) {
      held_ = 0;
      ReentrantLock::Algorithm::abandon(lock_->memory_);  // at whatever depth recover() left
    }
    throw;
  }
}

void Lockable::note_acquire(AcquireResult result) noexcept {
  const std::uint64_t me = id_of_calling_thread();
  held_ = result == AcquireResult::reentered && held_by_ == me ? held_ + 1 : 1;
  held_by_ = me;
  if (result != AcquireResult::reentered) taken_by_ = me;
}

void Lockable::note_release() noexcept {
  if (lock_->is_owned() && held_by_ == id_of_calling_thread() && held_ > 0) --held_;
}

bool Lockable::is_held_through_this() const noexcept {
  return lock_->is_owned() && (!has_other_handles_ || (held_ > 0 && held_by_ == id_of_calling_thread()));
}

}  // namespace heirlock
