// A variable that two threads write, each under a lock of its own: ThreadSanitizer must report it.
// Spec: build.thread-sanitizer
#include <heirlock/reentrant_lock.hpp>
#include <thread>

int main() {
  heirlock::ReentrantLock one;
  heirlock::ReentrantLock another;
  int value = 0;
  const auto count = [&value](heirlock::ReentrantLock& lock) {
    for (int i = 0; i < 1000; ++i) {
      lock.lock();
      ++value;
      lock.unlock();
    }
  };
  std::thread other([&] { count(one); });
  count(another);
  other.join();
}
