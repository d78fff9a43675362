#include <sys/wait.h>
#include <unistd.h>

#include <heirlock/lockable.hpp>
#include <iostream>

struct Counter : heirlock::Lockable {
  int add(int amount) {
    return locked([&] { return *value += amount; });
  }
  int increment() {
    return locked([&] { return add(1); });
  }
  void recover() override {}  // an int is never half-written
  heirlock::Shared<int> value{0};
};

int main() {
  Counter counter;
  const bool is_worker = fork() == 0 || fork() == 0 || fork() == 0 || fork() == 0;
  for (int i = 0; is_worker && i < 250'000; ++i) counter.increment();
  if (is_worker) return 0;
  while (wait(nullptr) > 0) continue;
  std::cout << "counted to " << *counter.value << '\n';
  return *counter.value == 1'000'000 ? 0 : 1;
}
