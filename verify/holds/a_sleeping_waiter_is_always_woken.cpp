// Spec:    lock.acquire.progress, lock.acquire.blocking, lock.inherit.sleeper
// Spec:    lock.acquire.exclusion
// Claim:   whoever waits for the lock gets it, whoever else dies at whatever step: no waiter sleeps on
//          while the lock is free, or held by somebody who goes on. (A thread that sleeps for ever is
//          reported as a deadlock.)
// Threads: 2, 3 and 4, with 0 to 3 deaths before any step, asleep included.
// Search:  every execution for 2 (with two critical sections each, in the full run); bounded for 3;
//          random for 3 and 4.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths, int rounds>
struct a_sleeping_waiter_is_always_woken
    : Scenario<a_sleeping_waiter_is_always_woken<threads, deaths, rounds>, threads, deaths> {
  using Self = a_sleeping_waiter_is_always_woken;
  CheckedLock lock{this->kernel, "the lock"};

  void user() {
    for (int i = 0; i < rounds; ++i) {
      lock.acquire();
      lock.release();
    }
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(
    __FILE__, {row<a_sleeping_waiter_is_always_woken<2, 0, 2>>("two, twice round", every_execution_with(4),
                                                               every_execution()),
               row<a_sleeping_waiter_is_always_woken<2, 2, 1>>("two, both may die", every_execution()),
               row<a_sleeping_waiter_is_always_woken<3, 0, 1>>("three, nobody dies", every_execution_with(2),
                                                               every_execution_with(4)),
               row<a_sleeping_waiter_is_always_woken<3, 1, 1>>("three, one may die", every_execution_with(1),
                                                               every_execution_with(2)),
               row<a_sleeping_waiter_is_always_woken<3, 2, 1>>("three, two may die", sampled(200'000),
                                                               every_execution_with(2)),
               row<a_sleeping_waiter_is_always_woken<3, 2, 2>>("three, two may die, twice round",
                                                               sampled(200'000), sampled(30'000'000)),
               row<a_sleeping_waiter_is_always_woken<4, 0, 1>>("four, nobody dies", sampled(200'000),
                                                               sampled(15'000'000)),
               row<a_sleeping_waiter_is_always_woken<4, 1, 1>>("four, one may die", sampled(200'000),
                                                               sampled(30'000'000)),
               row<a_sleeping_waiter_is_always_woken<4, 3, 1>>("four, three may die", sampled(200'000),
                                                               sampled(50'000'000))});

}  // namespace
