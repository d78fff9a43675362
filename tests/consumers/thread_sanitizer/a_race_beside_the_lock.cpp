// A variable that one of two threads writes without the lock: ThreadSanitizer must still report it.
// Spec: build.thread-sanitizer
#include <heirlock/reentrant_lock.hpp>
#include <thread>

int main() {
  heirlock::ReentrantLock lock;
  int guarded = 0;
  int forgotten = 0;
  const auto count = [&] {
    for (int i = 0; i < 1000; ++i) {
      lock.lock();
      ++guarded;
      lock.unlock();
      ++forgotten;
    }
  };
  std::thread other(count);
  count();
  other.join();
}
