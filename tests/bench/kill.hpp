// An owner is killed: how long until its heir is inside.
#ifndef HEIRLOCK_TESTS_BENCH_KILL_HPP
#define HEIRLOCK_TESTS_BENCH_KILL_HPP

#include <signal.h>
#include <sys/wait.h>

#include "bench/json.hpp"
#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"
#include "support/histogram.hpp"

namespace bench {

struct Inheritance {
  Signal owned;       // the owner is inside
  Signal is_waiting;  // the heir is about to wait
  Signal inherited;   // it is inside
  Signal never;
  Nanoseconds inside_at = 0;
  bool was_told = false;
};

/// From just before kill(2) to the heir's first look at the clock, in nanoseconds.
template <class Lock>
Nanoseconds kill_an_owner() {
  Locks<Lock> locks(2);
  const Shared<Inheritance> shared;
  const pid_t owner = spawn([&] {
    locks[0].acquire();
    shared->owned.set(1);
    shared->never.wait_for(1);
  });
  shared->owned.wait_for(1);
  const pid_t heir = spawn([&] {
    locks[1].acquire();  // what a process does once, it has done before
    locks[1].release();
    shared->inside_at = now();
    shared->is_waiting.set(1);
    shared->was_told = locks[0].acquire_as_heir();
    shared->inside_at = now();
    shared->inherited.set(1);
    locks[0].release();
  });
  shared->is_waiting.wait_for(1);
  wait_until_asleep(heir);

  const Nanoseconds killed_at = now();
  kill(owner, SIGKILL);
  shared->inherited.wait_for(1);
  waitpid(owner, nullptr, 0);
  int status = 0;
  if (waitpid(heir, &status, 0) != heir || status != 0) fail("found an heir that did not end well");
  if (!shared->was_told)
    fail("found an heir that was not told that the owner died, expected the lock to tell it");
  return shared->inside_at - killed_at;
}

template <class Lock>
Json kill_owners(const Options& options) {
  const int times = options.times > 0 ? options.times : 200;
  const int first = times / 10;  // those before are to warm up
  Histogram latencies;
  for (int number = 0; number < first + times; ++number) {
    const Nanoseconds latency = kill_an_owner<Lock>();
    if (number >= first) latencies.add(latency);
  }
  Json values;
  values.number("heir_p50_ns", latencies.quantile(0.5))
      .number("heir_p99_ns", latencies.quantile(0.99))
      .number("heir_max_ns", latencies.longest());
  Json json;
  return json.text("case", "kill").text("lock", Lock::name).whole("times", times).object("values", values);
}

}  // namespace bench
#endif
