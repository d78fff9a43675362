// The C++ processes of from_specification_test.py.
//   keep MEMORY TIMES: shares the books at MEMORY with others, as keep_the_books() there does
//   create NAME: makes the named segment of a lock
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <heirlock/reentrant_lock.hpp>
#include <heirlock/shared.hpp>
#include <iostream>
#include <string>

namespace {

struct Books {
  heirlock::ReentrantLock lock;
  alignas(64) volatile long first;  // equal to the second whenever the lock is free, unless its owner died
  volatile long second;
};

int keep_the_books(const char* memory, long times) {
  const int file = open(memory, O_RDWR | O_CLOEXEC);
  void* const address = mmap(nullptr, sizeof(Books), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (address == MAP_FAILED) {
    std::cerr << "cannot map " << memory << "; give a file of " << sizeof(Books) << " bytes\n";
    return 2;
  }
  Books& books = *static_cast<Books*>(address);
  for (long i = 0; i < times; ++i) {
    if (books.lock.acquire() == heirlock::AcquireResult::inherited) {
      books.second = books.first;
      books.lock.repaired();
    }
    if (books.first != books.second) {
      std::cerr << books.first << " and " << books.second << " differ: the lock had two owners at once\n";
      return 1;
    }
    books.first = books.first + 1;
    books.second = books.second + 1;
    books.lock.release();
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string task = count > 2 ? arguments[1] : "";
  if (task == "keep" && count == 4) return keep_the_books(arguments[2], std::atol(arguments[3]));
  if (task != "create" || count != 3) {
    std::cerr << "usage: keep MEMORY TIMES, or create NAME\n";
    return 2;
  }
  heirlock::Shared<heirlock::ReentrantLock>::create(arguments[2]);
  return 0;
}
