// Spec:    kernel.pending-free
// Claim:   that must fail: where the kernel's walk wakes nobody for a pending lock that is free with
//          WAITERS set, as before 2022, all waiters get the lock whoever dies. It is why such kernels
//          need the backstop.
// Threads: 3, of which one may die before any step.
// Search:  bounded.
// Verdict: deadlock
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct the_walk_before_2022_strands_a_waiter : Scenario<the_walk_before_2022_strands_a_waiter, 3, 1> {
  CheckedLock lock{kernel, "the lock"};

  the_walk_before_2022_strands_a_waiter() { kernel.walk = ExitWalk::before_2022; }
  void user() {
    lock.acquire();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr Role roles[] = {{"user", &the_walk_before_2022_strands_a_waiter::user}};
};

const Check check(__FILE__,
                  {row<the_walk_before_2022_strands_a_waiter>("one may die", every_execution_with(2))});

}  // namespace
