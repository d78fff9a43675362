#include "twice.hpp"

#include <mutex>

void add_twice(Counter& counter, int amount) {
  const std::lock_guard<heirlock::Lockable> guard(counter);
  counter.add(amount);
  counter.add(amount);
}
