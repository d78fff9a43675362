// Spec:    lock.reentry.result, lock.reentry.depth
// Spec:    lock.try.busy
// Claim:   whoever owns the lock acquires it again at once, in any form, and only the last of its
//          releases frees it.
// Threads: 2; either may die before any step.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct the_owner_acquires_again_without_waiting
    : Scenario<the_owner_acquires_again_without_waiting<deaths>, 2, deaths> {
  using Self = the_owner_acquires_again_without_waiting;
  CheckedLock lock{this->kernel, "the lock"};

  void owner() {
    lock.acquire();
    lock.acquire(Deadline::passed);
    expect(lock.memory.depth.load() == 2, "two acquires are not two deep");
    lock.release();
    expect(algorithm.is_owned(lock.memory), "the first of two releases has freed the lock");
    lock.release();
    expect(!algorithm.is_owned(lock.memory), "the last release has not freed the lock");
  }
  // Gets in only where the lock's account says that nobody is: CheckedLock sees to it.
  void intruder() {
    if (lock.acquire(Deadline::passed) != heirlock_not_acquired) lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"intruder", &Self::intruder}};
};

const Check check(__FILE__,
                  {row<the_owner_acquires_again_without_waiting<0>>("nobody dies", every_execution()),
                   row<the_owner_acquires_again_without_waiting<2>>("either may die", every_execution())});

}  // namespace
