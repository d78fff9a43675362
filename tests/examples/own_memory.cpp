// A lock in memory of your own, here a memfd, and what to do with each result of acquire().
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <heirlock/reentrant_lock.hpp>
#include <iostream>
#include <mutex>
#include <new>
#include <string>

using heirlock::AcquireResult;

struct Square {
  heirlock::ReentrantLock lock;
  int side = 1;
  int area = 1;  // side * side, unless an owner was killed between the two
};

constexpr int unlucky = 13;

void resize(Square& square, int side) {
  const std::lock_guard guard(square.lock);  // throws if an owner died: this function mends nothing
  square.side = side;
  if (side == unlucky) raise(SIGKILL);
  square.area = side * side;
}

/// Locks the square, mends it if need be, and tells what it found.
std::string look_at(Square& square) {
  std::string found;
  switch (square.lock.acquire()) {
    case AcquireResult::acquired:
      found = "acquired";
      break;
    case AcquireResult::reentered:  // the caller had locked it already
      found = "reentered";
      break;
    case AcquireResult::inherited:  // the last owner died, wherever it was
      found = "inherited";
      square.area = square.side * square.side;
      square.lock.repaired();  // or the next owner inherits as well
      break;
    case AcquireResult::not_acquired:  // never by acquire(), which waits for ever
      std::abort();
  }
  found += ", area " + std::to_string(square.area);
  square.lock.release();
  return found;
}

int main() {
  const int file = memfd_create("square", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, sizeof(Square)) != 0) return 1;
  void* const memory = mmap(nullptr, sizeof(Square), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return 1;
  auto& square = *new (memory) Square;

  if (fork() == 0) resize(square, unlucky);
  wait(nullptr);

  const std::string first = look_at(square);
  const std::string second = look_at(square);
  std::cout << first << "; then " << second << '\n';
  return first == "inherited, area 169" && second == "acquired, area 169" ? 0 : 1;
}
