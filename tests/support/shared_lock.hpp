// A lock for the processes of one test.
#ifndef HEIRLOCK_TESTS_SUPPORT_SHARED_LOCK_HPP
#define HEIRLOCK_TESTS_SUPPORT_SHARED_LOCK_HPP

#include <cstddef>

#include "heirlock/reentrant_lock.hpp"
#include "support/shared_memory.hpp"

namespace support {

/// `count` locks in a mapping that forked children share. Those that the destroying thread owns are released
/// first, so that a test may end holding them: its robust list must not lead to memory that is gone.
template <std::size_t count>
class SharedLocks {
 public:
  SharedLocks() = default;
  SharedLocks(const SharedLocks&) = delete;
  SharedLocks& operator=(const SharedLocks&) = delete;
  ~SharedLocks() {
    for (heirlock::ReentrantLock& lock : *this)
      while (lock.is_owned()) lock.release();
  }

  heirlock::ReentrantLock& operator[](std::size_t i) const { return locks_->all[i]; }
  heirlock::ReentrantLock* begin() const { return locks_->all; }
  heirlock::ReentrantLock* end() const { return locks_->all + count; }

 private:
  struct Locks {
    heirlock::ReentrantLock all[count];
  };
  InSharedMemory<Locks> locks_;
};

/// One of them.
class SharedLock {
 public:
  heirlock::ReentrantLock& operator*() const { return lock_[0]; }
  heirlock::ReentrantLock* operator->() const { return &lock_[0]; }

 private:
  SharedLocks<1> lock_;
};

}  // namespace support
#endif
