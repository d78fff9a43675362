#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <heirlock/lockable.hpp>
#include <iostream>

struct Counter : heirlock::Lockable {
  void add(int amount) {
    locked([&] { *value += amount; });
  }
  void increment() {
    locked([&] { add(1); });  // a locked method may call another
  }
  void recover() override {}  // an int is never half-written
  heirlock::Shared<int> value{0};
};

int main() {
  Counter counter;
  for (int worker = 0; worker < 4; ++worker) {
    if (fork() != 0) continue;
    for (int i = 0; i < 250'000; ++i) counter.increment();
    if (worker == 0) counter.locked([] { raise(SIGKILL); });  // when all its increments are done
    return 0;  // destroys the child's counter: the lock and the value stay, for the others have them too
  }
  while (wait(nullptr) > 0) continue;
  std::cout << "counted to " << *counter.value << '\n';
  return *counter.value == 1'000'000 ? 0 : 1;
}
