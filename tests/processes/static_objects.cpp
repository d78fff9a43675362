// Objects in static storage that detached threads go on using when main() has returned. Its argument names
// one.
#include <atomic>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "heirlock/lockable.hpp"

namespace {

constexpr int threads = 4;
std::atomic<int> uses{0};
std::atomic<bool> is_paused{false};
std::atomic<int> paused{0};

void wait_for_uses(int more) {
  for (const int before = uses; uses - before < more;) std::this_thread::yield();
}

// Made first, it is destroyed last: the process goes on until the threads have used what was destroyed.
struct Last {
  ~Last() {
    is_paused = false;
    wait_for_uses(1000);
  }
} last;

class Counter : public heirlock::Lockable {
 public:
  void use() {
    locked([&] { ++*value_; });
  }

 private:
  void recover() override {}

  heirlock::Shared<int> value_{0};
};

class Mutex {
 public:
  void use() {
    lock_->lock();
    lock_->unlock();
  }

 private:
  heirlock::Shared<heirlock::ReentrantLock> lock_;
};

template <class T>
int use(T& object) {
  for (int i = 0; i < threads; ++i)
    std::thread([&object] {
      for (;; ++uses) {
        object.use();
        if (!is_paused) continue;
        ++paused;
        while (is_paused) std::this_thread::yield();
      }
    }).detach();
  wait_for_uses(1000);
  // An object that is in use as it is destroyed may owe to that that it stays.
  is_paused = true;
  while (paused < threads) std::this_thread::yield();
  return EXIT_SUCCESS;
}

template <class T>
T& local() {
  static T object;
  return object;
}

Counter counter;
Mutex mutex;

}  // namespace

int main(int argc, char** argv) {
  const std::string_view kind = argc == 2 ? argv[1] : "";
  if (kind == "global_lockable") return use(counter);
  if (kind == "global_shared") return use(mutex);
  if (kind == "local_lockable") return use(local<Counter>());
  if (kind == "local_shared") return use(local<Mutex>());
  return EXIT_FAILURE;
}
