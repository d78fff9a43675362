// A program of its own, which shares nothing with a test but a file that holds a lock:
//
//   heirlock_test_stranger sleep   sleeps until it is killed
//   heirlock_test_stranger FILE    as its first use of any lock, releases the one in the open file of this
//                                  number; the status is 0 if it was refused, as not the owner
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "heirlock/reentrant_lock.hpp"

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argc != 2) return 2;
  if (std::string(argv[1]) == "sleep")
    for (;;) pause();
  void* const memory = mmap(nullptr, sizeof(heirlock::ReentrantLock), PROT_READ | PROT_WRITE, MAP_SHARED,
                            std::atoi(argv[1]), 0);
  if (memory == MAP_FAILED) return 2;
  try {
    static_cast<heirlock::ReentrantLock*>(memory)->release();
  } catch (const heirlock::AssertionError&) {
    return 0;
  }
  return 1;
}
