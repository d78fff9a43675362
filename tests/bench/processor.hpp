// On which processors a party runs.
#ifndef HEIRLOCK_TESTS_BENCH_PROCESSOR_HPP
#define HEIRLOCK_TESTS_BENCH_PROCESSOR_HPP

#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace bench {

/// Of those that the program may use, when it is first asked.
inline const std::vector<int>& processors() {
  static const std::vector<int> all = [] {
    std::vector<int> found;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
      for (int number = 0; number < CPU_SETSIZE; ++number)
        if (CPU_ISSET(static_cast<unsigned>(number), &set)) found.push_back(number);
    if (found.empty()) found.push_back(0);
    return found;
  }();
  return all;
}

/// Keeps the calling thread on one processor: who has another index gets another one, as long as there are
/// some.
inline void pin(int index) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(processors()[static_cast<std::size_t>(index) % processors().size()]), &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return;
  std::perror("found a processor that was taken away, expected to be pinned to it: sched_setaffinity");
  std::exit(1);
}

}  // namespace bench
#endif
