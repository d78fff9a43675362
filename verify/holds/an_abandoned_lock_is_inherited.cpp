// Spec:    lockable.destroy-held, lockable.recover.throws, lock.inherit.flag
// Claim:   an owner that gives the lock up unrepaired, at any depth, frees it as its death would: the
//          next one inherits, a sleeper is woken, and a death in the middle of it changes nothing.
// Threads: 2 and 3; each may die before any step.
// Search:  every execution for 2, bounded for 3.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct an_abandoned_lock_is_inherited
    : Scenario<an_abandoned_lock_is_inherited<threads, deaths>, threads, deaths> {
  using Self = an_abandoned_lock_is_inherited;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  void owner() {
    lock.acquire();
    lock.acquire();
    data.change();
    lock.abandon();
    expect(!algorithm.is_owned(lock.memory), "the lock is abandoned, and its owner owns it");
  }
  void heir() {
    if (lock.acquire() == heirlock_inherited) lock.repaired();
    data.change();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"heir", &Self::heir}};
};

const Check check(__FILE__,
                  {row<an_abandoned_lock_is_inherited<2, 2>>("two, both may die", every_execution()),
                   row<an_abandoned_lock_is_inherited<3, 1>>("three, one may die", every_execution_with(1),
                                                             every_execution_with(2))});

}  // namespace
