// Spec:    lock.inherit.depth, lock.inherit.death
// Claim:   an heir owns the lock at depth 1, whatever depth the dead owner had reached, and one release
//          frees it.
// Threads: 2: an owner that dies at some step between depth 1 and 3, and an heir, which may die too.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct an_heir_starts_at_depth_1 : Scenario<an_heir_starts_at_depth_1<deaths>, 2, deaths> {
  using Self = an_heir_starts_at_depth_1;
  CheckedLock lock{this->kernel, "the lock"};

  // Ends as the owner, without a release: the end of a thread is a death as well.
  void owner() {
    for (int i = 0; i < 3; ++i) lock.acquire();
  }
  void heir() {
    lock.acquire();
    lock.release();
    expect(!algorithm.is_owned(lock.memory), "one release does not free what an heir acquired once");
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"heir", &Self::heir}};
};

const Check check(__FILE__, {row<an_heir_starts_at_depth_1<0>>("the owner's thread ends", every_execution()),
                             row<an_heir_starts_at_depth_1<2>>("either may be killed", every_execution())});

}  // namespace
