// A plug-in that brings a copy of the library of its own, and hides nothing of it but what heirlock hides.
#include "heirlock/reentrant_lock.hpp"

extern "C" int plug_in_try_acquire(heirlock::ReentrantLock* lock) {
  return static_cast<int>(lock->try_acquire());
}

extern "C" int plug_in_release(heirlock::ReentrantLock* lock) {
  try {
    lock->release();
    return 1;
  } catch (const heirlock::AssertionError&) {
    return 0;
  }
}
