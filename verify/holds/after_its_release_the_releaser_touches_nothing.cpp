// Spec:    lock.release.untouched
// Claim:   once the word says free, the next owner may give the lock's memory back: the releaser
//          touches none of its fields any more, however its release ends. (What touches memory that was
//          given back is reported.)
// Threads: 2 and 3 users; the last one to use the lock destroys it. Whether a release wakes one or all
//          is drawn.
// Search:  bounded, and random for 3; not reduced, as giving memory back is no step of the lock.
#include <new>

#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct after_its_release_the_releaser_touches_nothing
    : Scenario<after_its_release_the_releaser_touches_nothing<threads, deaths>, threads, deaths> {
  using Self = after_its_release_the_releaser_touches_nothing;
  CheckedLock lock{this->kernel, "the lock"};
  rl::var<int> users_left{threads};
  bool given_back = false;

  after_its_release_the_releaser_touches_nothing() { this->kernel.quiet_is_random = true; }
  void user() {
    lock.acquire();
    const int left = users_left(nowhere).load() - 1;
    users_left(nowhere).store(left);
    lock.release();
    if (left == 0) give_back();
  }
  void give_back() {
    this->kernel.tell("gives the memory back");
    given_back = true;
    this->kernel.forget(lock.memory);
    lock.memory.~Lock();
  }
  void at_the_end() {
    if (given_back)
      ::new (static_cast<void*>(&lock.memory)) Lock;  // for the destructor of this scenario
    else
      expect_usable(lock);
  }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(
    __FILE__,
    {row<after_its_release_the_releaser_touches_nothing<2, 0>>("two, nobody dies",
                                                               every_execution_with(1'000)),
     row<after_its_release_the_releaser_touches_nothing<2, 1>>("two, one may die", every_execution_with(3),
                                                               every_execution_with(5)),
     row<after_its_release_the_releaser_touches_nothing<3, 0>>("three, nobody dies", every_execution_with(2),
                                                               every_execution_with(3)),
     row<after_its_release_the_releaser_touches_nothing<3, 1>>("three, one may die", sampled(200'000),
                                                               sampled(15'000'000))});

}  // namespace
