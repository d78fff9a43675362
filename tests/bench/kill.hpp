// An owner is killed: how long until its heir is inside.
#ifndef HEIRLOCK_TESTS_BENCH_KILL_HPP
#define HEIRLOCK_TESTS_BENCH_KILL_HPP

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"
#include "support/histogram.hpp"
#include "support/shared_memory.hpp"

namespace bench {

struct Inheritance {
  support::Gate owned;       // the owner is inside
  support::Gate is_waiting;  // the heir is about to wait
  support::Gate inherited;   // it is inside
  Nanoseconds inside_at = 0;
  bool was_told = false;
};

/// From just before kill(2) to the heir's first look at the clock, in nanoseconds.
template <class Lock>
Nanoseconds kill_an_owner() {
  const Locks<Lock> locks(2);
  const Shared<Inheritance> shared;
  const pid_t owner = spawn([&] {
    locks[0].acquire();
    shared->owned.open();
    pause();
  });
  shared->owned.wait();
  const pid_t heir = spawn([&] {
    locks[1].acquire();  // what a process does once, it has done before
    locks[1].release();
    shared->inside_at = now();
    shared->is_waiting.open();
    shared->was_told = locks[0].acquire_as_heir();
    shared->inside_at = now();
    shared->inherited.open();
    locks[0].release();
  });
  shared->is_waiting.wait();
  wait_until_asleep(heir);

  const Nanoseconds killed_at = now();
  kill(owner, SIGKILL);
  shared->inherited.wait();
  waitpid(owner, nullptr, 0);
  wait_for_end(heir);
  if (!shared->was_told) fail("the lock did not tell the heir that the owner had died");
  return shared->inside_at - killed_at;
}

template <class Lock>
Values kill_owners(const Options& options) {
  const int times = options.times > 0 ? options.times : 200;
  const int first = times / 10;  // those before are to warm up
  Histogram latencies;
  for (int number = 0; number < first + times; ++number) {
    const Nanoseconds latency = kill_an_owner<Lock>();
    if (number >= first) latencies.add(latency);
  }
  return {{"heir_p50_ns", latencies.quantile(0.5)},
          {"heir_p99_ns", latencies.quantile(0.99)},
          {"heir_max_ns", latencies.longest()}};
}

}  // namespace bench
#endif
