// Spec:    lock.inherit.death, lock.inherit.many, lock.inherit.sleeper
// Spec:    protocol.linking
// Claim:   a thread that holds two locks, takes and frees them in any order, and dies at any step,
//          leaves both to heirs; and no step of one operation spoils the list that the other lock hangs
//          on.
// Threads: 2 and 3: one that holds both locks, and one waiter for each.
// Search:  every execution for 2, bounded and random for 3.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct two_locks_held_at_once_survive_a_death
    : Scenario<two_locks_held_at_once_survive_a_death<threads, deaths>, threads, deaths> {
  using Self = two_locks_held_at_once_survive_a_death;
  CheckedLock a{this->kernel, "lock a"}, b{this->kernel, "lock b"};
  Data behind_a, behind_b;

  void both() {
    a.acquire();
    b.acquire();
    behind_a.change();
    behind_b.change();
    const bool first_in_first_out = choices().choose(2) == 1;
    (first_in_first_out ? a : b).release();
    (first_in_first_out ? b : a).release();
  }
  void waits_for_a() { use(a, behind_a); }
  void waits_for_b() { use(b, behind_b); }
  void use(CheckedLock& lock, Data& data) {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() {
    expect_usable(a);
    expect_usable(b);
  }

  static constexpr typename Self::Role roles[] = {
      {"holder", &Self::both}, {"waits for b", &Self::waits_for_b}, {"waits for a", &Self::waits_for_a}};
};

const Check check(__FILE__,
                  {row<two_locks_held_at_once_survive_a_death<2, 1>>("two, one may die", every_execution()),
                   row<two_locks_held_at_once_survive_a_death<3, 1>>("three, one may die",
                                                                     every_execution_with(1),
                                                                     every_execution_with(2)),
                   row<two_locks_held_at_once_survive_a_death<3, 2>>("three, two may die", sampled(200'000),
                                                                     sampled(25'000'000))});

}  // namespace
