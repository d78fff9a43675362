// Four forked workers and one struct that they share, with its lock inside. Any guard of the standard will
// do. If a worker is killed under the lock, every later guard throws std::errc::owner_dead, until somebody
// acquires the lock, mends the struct and calls repaired(), as own_memory.cpp does.
#include <sys/wait.h>
#include <unistd.h>

#include <heirlock/reentrant_lock.hpp>
#include <heirlock/shared.hpp>
#include <iostream>
#include <mutex>

struct Tally {
  heirlock::ReentrantLock lock;
  int count = 0;
  int largest = 0;
};

int main() {
  const heirlock::Shared<Tally> tally;

  for (int worker = 1; worker <= 4; ++worker) {
    if (fork() != 0) continue;
    for (int value = worker; value <= 1'000'000; value += 4) {
      const std::lock_guard guard(tally->lock);
      ++tally->count;
      if (value > tally->largest) tally->largest = value;
    }
    return 0;
  }
  while (wait(nullptr) > 0) continue;

  const std::lock_guard guard(tally->lock);
  std::cout << tally->count << " values, the largest is " << tally->largest << '\n';
  return tally->count == 1'000'000 && tally->largest == 1'000'000 ? 0 : 1;
}
