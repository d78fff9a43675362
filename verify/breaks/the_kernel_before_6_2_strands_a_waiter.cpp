// Spec:    kernel.pending-free
// Claim:   that must fail: on Linux before 6.2, which wakes nobody when a pending lock is free with
//          WAITERS set, all waiters get the lock whoever dies. It is why such kernels need the
//          backstop.
// Threads: 3, of which one may die before any step.
// Search:  bounded.
// Verdict: deadlock
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct the_kernel_before_6_2_strands_a_waiter : Scenario<the_kernel_before_6_2_strands_a_waiter, 3, 1> {
  CheckedLock lock{kernel, "the lock"};

  the_kernel_before_6_2_strands_a_waiter() { kernel.pending_rule_before_6_2 = true; }
  void user() {
    lock.acquire();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr Role roles[] = {{"user", &the_kernel_before_6_2_strands_a_waiter::user}};
};

}  // namespace

int main(int argc, char** argv) {
  return explore(argc, argv,
                 {row<the_kernel_before_6_2_strands_a_waiter>("one may die", every_execution_with(2))});
}
