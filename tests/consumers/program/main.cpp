// The consumer's program: two processes, and two libraries that must agree on who the calling thread is.
#include <sys/wait.h>
#include <unistd.h>

#include <heirlock/error.hpp>
#include <heirlock/reentrant_lock.hpp>

#include "counter.hpp"
#include "twice.hpp"

int main() {
  Counter counter;
  if (fork() == 0) {
    add_twice(counter, 3);
    _exit(0);
  }
  add_twice(counter, 2);
  wait(nullptr);
  if (counter.add(0) != 10) return 1;

  // An exception that the library throws must be known by its type here.
  try {
    counter.release();
    return 2;
  } catch (const heirlock::AssertionError&) {
  }
  try {
    heirlock::Shared<int>::open("bad name");
    return 3;
  } catch (const std::invalid_argument&) {
  }

  // Taken by the program's own inlined code, known to the library's, and the other way round.
  heirlock::ReentrantLock lock;
  if (lock.acquire() != heirlock::AcquireResult::acquired) return 4;
  if (lock.try_acquire() != heirlock::AcquireResult::reentered || lock.depth() != 2) return 5;
  lock.release();
  lock.release();
  return lock.owner() == 0 ? 0 : 6;
}
