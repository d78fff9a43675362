// A C++ process that shares a lock with Python: `heirlock-python-partner DESCRIPTOR [NAME]`. The descriptor
// is a file of 4096 bytes, with the lock at its beginning, unless it is that of Lockable(NAME), and a count
// behind it. Does what its standard input says, a word a line, and answers each line.
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "heirlock/lockable.hpp"

namespace {

struct Shared {
  heirlock::ReentrantLock lock;
  char unused[24];
  std::int64_t count;
};

class Counter : public heirlock::Lockable {
 public:
  explicit Counter(Shared& shared) : Lockable(shared.lock), shared_(shared) {}
  Counter(Shared& shared, const char* name) : Lockable(name), shared_(shared) {}

  void increment() {
    locked([&] { ++shared_.count; });
  }

 private:
  void recover() override { std::cout << "recovers" << std::endl; }

  Shared& shared_;
};

int serve(Counter& counter) {
  for (std::string command; std::cin >> command;) {
    if (command == "acquire") {
      std::cout << (counter.acquire() ? "acquired" : "busy") << std::endl;
    } else if (command == "try") {
      std::cout << (counter.acquire(false) ? "acquired" : "busy") << std::endl;
    } else if (command == "release") {
      counter.release();
      std::cout << "released" << std::endl;
    } else if (command == "count") {
      for (int i = 0; i < 20000; ++i) counter.increment();
      std::cout << "counted" << std::endl;
    } else {
      std::cout << "unknown" << std::endl;
    }
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** arguments) {
  void* const memory =
      count < 2 ? MAP_FAILED
                : mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, std::atoi(arguments[1]), 0);
  if (memory == MAP_FAILED) {
    std::cerr << "heirlock-python-partner: found no memory, expected the descriptor of a file\n";
    return 2;
  }
  Shared& shared = *static_cast<Shared*>(memory);
  if (count == 2) {
    Counter counter(shared);
    return serve(counter);
  }
  Counter counter(shared, arguments[2]);
  return serve(counter);
}
