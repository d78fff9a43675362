#include "counter.hpp"

int Counter::add(int amount) {
  return locked([&] { return *value_ += amount; });
}
