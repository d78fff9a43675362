// Spec:    lock.inherit.flag, lock.inherit.repaired, lock.inherit.death
// Spec:    lock.acquire.progress, lock.acquire.visibility, order.free-it
// Claim:   after a death each take says `inherited`, through releases and further deaths, until an
//          owner has declared the state repaired; from then on none does, until the next death.
// Threads: 2 and 3; each acquires and releases twice, draws whether it repairs what it inherits, and
//          may die.
// Search:  every execution for 2 threads with one round; bounded and random above.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths, int rounds>
struct the_flag_stays_until_repaired
    : Scenario<the_flag_stays_until_repaired<threads, deaths, rounds>, threads, deaths> {
  using Self = the_flag_stays_until_repaired;
  CheckedLock lock{this->kernel, "the lock"};  // keeps account of what each take must say

  void user() {
    for (int i = 0; i < rounds; ++i) {
      if (lock.acquire() == heirlock_inherited && choices().choose(2) == 1) lock.repaired();
      lock.release();
    }
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(__FILE__,
                  {row<the_flag_stays_until_repaired<2, 2, 1>>("two, both may die", every_execution()),
                   row<the_flag_stays_until_repaired<3, 1, 1>>("three, one may die", every_execution_with(1),
                                                               every_execution_with(2)),
                   row<the_flag_stays_until_repaired<3, 2, 2>>("three, two may die", sampled(200'000),
                                                               sampled(25'000'000))});

}  // namespace
