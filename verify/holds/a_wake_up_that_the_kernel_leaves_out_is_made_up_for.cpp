// Spec:    lock.acquire.progress, kernel.pending-free
// Claim:   where the kernel's walk wakes nobody for a pending lock that is free with WAITERS set, as
//          before 2022, the backstop makes up for it: a sleeper looks again when its slice ends, and
//          gets the lock. (breaks/the_walk_before_2022_strands_a_waiter is the same without the
//          backstop.)
// Threads: 3, of which one or two may die before any step.
// Search:  bounded and random.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct a_wake_up_that_the_kernel_leaves_out_is_made_up_for
    : Scenario<a_wake_up_that_the_kernel_leaves_out_is_made_up_for<deaths>, 3, deaths> {
  using Self = a_wake_up_that_the_kernel_leaves_out_is_made_up_for;
  CheckedLock lock{this->kernel, "the lock"};

  a_wake_up_that_the_kernel_leaves_out_is_made_up_for() {
    this->kernel.walk = ExitWalk::before_2022;
    this->kernel.backstop = true;
  }
  void user() {
    lock.acquire();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(__FILE__, {row<a_wake_up_that_the_kernel_leaves_out_is_made_up_for<1>>(
                                 "one may die", every_execution_with(1), every_execution_with(2)),
                             row<a_wake_up_that_the_kernel_leaves_out_is_made_up_for<2>>(
                                 "two may die", sampled(200'000), sampled(10'000'000))});

}  // namespace
