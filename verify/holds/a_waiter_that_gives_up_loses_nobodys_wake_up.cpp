// Spec:    lock.acquire.progress, lock.timeout.ends
// Spec:    protocol.inv-pending
// Claim:   a timed acquire may give up at any moment, woken or not, and no other waiter sleeps on
//          because of it.
// Threads: 3: an owner, one that waits with a timeout, one that waits without; one may die before any
//          step.
// Search:  bounded and random.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct a_waiter_that_gives_up_loses_nobodys_wake_up
    : Scenario<a_waiter_that_gives_up_loses_nobodys_wake_up<deaths>, 3, deaths> {
  using Self = a_waiter_that_gives_up_loses_nobodys_wake_up;
  CheckedLock lock{this->kernel, "the lock"};

  void owner() {
    lock.acquire();
    lock.release();
  }
  void hurried() {
    if (lock.acquire(Deadline::passes_at_some_time) != heirlock_not_acquired) lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {
      {"owner", &Self::owner}, {"hurried", &Self::hurried}, {"patient", &Self::owner}};
};

const Check check(
    __FILE__, {row<a_waiter_that_gives_up_loses_nobodys_wake_up<0>>("nobody dies", every_execution_with(2),
                                                                    every_execution_with(3)),
               row<a_waiter_that_gives_up_loses_nobodys_wake_up<1>>("one may die", every_execution_with(1),
                                                                    every_execution_with(2)),
               row<a_waiter_that_gives_up_loses_nobodys_wake_up<2>>("two may die", sampled(200'000),
                                                                    sampled(25'000'000))});

}  // namespace
