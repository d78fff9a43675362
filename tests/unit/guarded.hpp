// The Lockable of these tests: a counter that counts its recoveries too.
#ifndef HEIRLOCK_TESTS_UNIT_GUARDED_HPP
#define HEIRLOCK_TESTS_UNIT_GUARDED_HPP

#include <atomic>
#include <functional>
#include <string_view>
#include <utility>

#include "heirlock/lockable.hpp"
#include "support/party.hpp"
#include "support/shared_memory.hpp"

/// Its state is shared with forked children.
class Guarded : public heirlock::Lockable {
 public:
  Guarded() = default;
  explicit Guarded(std::string_view name) : Lockable(name) {}
  explicit Guarded(heirlock::ReentrantLock& lock) : Lockable(lock) {}

  int increment() {
    return locked([&] { return ++*value_; });
  }
  int value() const {
    return locked([&] { return *value_; });
  }
  int recoveries() const { return *recoveries_; }

  /// What recover() does besides counting.
  std::function<void()> on_recover = [] {};

 protected:
  void recover() override {
    ++*recoveries_;
    on_recover();
  }

 private:
  heirlock::Shared<int> value_{0};
  support::InSharedMemory<std::atomic<int>> recoveries_{0};
};

/// Acquires the object's lock this many times in a party that then ends, so that the next owner inherits.
inline void die_holding(heirlock::Lockable& object, support::As as = support::As::process, int depth = 1) {
  support::Party(as, [&] {
    for (int i = 0; i < depth; ++i) object.acquire();
  }).join();
}

#endif
