// Spec:    lock.release.owner-only, lock.inherit.repaired-owner-only
// Spec:    lock.owner.query
// Claim:   a release, or repaired(), by a thread that does not own the lock is refused and changes
//          nothing, whatever the owner is doing meanwhile, and whether or not the thread has owned the
//          lock before.
// Threads: 2; either may die before any step.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct nobody_but_the_owner_can_release : Scenario<nobody_but_the_owner_can_release<deaths>, 2, deaths> {
  using Self = nobody_but_the_owner_can_release;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  void owner() {
    lock.acquire();
    data.change();
    lock.release();
    expect_refused();
  }
  void stranger() {
    expect_refused();  // has used no lock yet
    if (lock.acquire(Deadline::passed) != heirlock_not_acquired) lock.release();
    expect_refused();
  }
  void expect_refused() {
    expect(!algorithm.is_owned(lock.memory), "a thread that owns nothing is taken for the owner");
    expect(algorithm.release(lock.memory) == heirlock_not_owner, "a stranger can release the lock");
    expect(algorithm.repaired(lock.memory) == heirlock_not_owner, "a stranger can declare the lock repaired");
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"stranger", &Self::stranger}};
};

const Check check(__FILE__, {row<nobody_but_the_owner_can_release<0>>("nobody dies", every_execution()),
                             row<nobody_but_the_owner_can_release<2>>("either may die", every_execution())});

}  // namespace
