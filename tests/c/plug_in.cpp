// A plug-in that brings a copy of the library of its own, and hides nothing of it but what heirlock hides.
#include "heirlock/lockable.hpp"

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

extern "C" void plug_in_use(const char* name) {
  struct Object : heirlock::Lockable {
    explicit Object(const char* its_name) : Lockable(std::string_view(its_name)) {}
  };
  Object(name).locked([] {});
}
