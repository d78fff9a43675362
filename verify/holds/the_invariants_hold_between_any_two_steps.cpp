// Spec:    lock.acquire.progress, lock.inherit.death
// Spec:    protocol.inv-owner, protocol.inv-waiters, protocol.inv-pending, protocol.inv-list
// Spec:    protocol.inv-depth
// Claim:   INV-OWNER, INV-WAITERS, INV-PENDING, INV-LIST and INV-DEPTH hold between any two steps, whoever
//          dies when.
// Threads: 2 and 3; each acquires, re-enters, repairs what it inherits, and releases twice; which form of
//          release is used is drawn; each may die before any step.
// Search:  bounded and random; not reduced, as what holds between independent steps counts here.
#include "model/invariants.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct the_invariants_hold_between_any_two_steps
    : Scenario<the_invariants_hold_between_any_two_steps<threads, deaths>, threads, deaths> {
  using Self = the_invariants_hold_between_any_two_steps;
  CheckedLock lock{this->kernel, "the lock"};
  std::uint32_t owner_before = 0;

  the_invariants_hold_between_any_two_steps() { this->kernel.quiet_is_random = true; }
  void user() {
    if (lock.acquire() == heirlock_inherited) lock.repaired();
    lock.acquire();
    lock.release();
    lock.release();
  }
  void invariant() override {
    const char* const broken = broken_invariant(this->kernel, lock, owner_before);
    if (broken != nullptr) expect(false, broken);
    owner_before = heirlock::detail::owner_of(lock.memory.word.value_now());
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(
    __FILE__,
    {row<the_invariants_hold_between_any_two_steps<2, 2>>("two, both may die", every_execution_with(2),
                                                          every_execution_with(4)),
     row<the_invariants_hold_between_any_two_steps<3, 1>>("three, one may die", sampled(200'000),
                                                          every_execution_with(1)),
     row<the_invariants_hold_between_any_two_steps<3, 3>>("three, all may die", sampled(200'000),
                                                          sampled(20'000'000))});

}  // namespace
