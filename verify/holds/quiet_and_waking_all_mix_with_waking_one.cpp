// Spec:    lock.acquire.progress, lock.acquire.exclusion, lock.acquire.visibility
// Spec:    lock.inherit.flag, order.free-in-kernel
// Claim:   whether a release wakes one sleeper and keeps WAITERS, or wakes all and drops it, may differ
//          from release to release in any pattern: nobody is stranded, no death is forgotten, no write
//          is lost.
// Threads: 2 to 4; the thread's note of a vain wake-up is drawn at each look; each may die before any
//          step.
// Search:  every execution for 2; bounded and random above.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths, int rounds>
struct quiet_and_waking_all_mix_with_waking_one
    : Scenario<quiet_and_waking_all_mix_with_waking_one<threads, deaths, rounds>, threads, deaths> {
  using Self = quiet_and_waking_all_mix_with_waking_one;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  quiet_and_waking_all_mix_with_waking_one() { this->kernel.quiet_is_random = true; }
  void user() {
    for (int i = 0; i < rounds; ++i) {
      lock.acquire();
      data.change();
      lock.release();
    }
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(
    __FILE__,
    {row<quiet_and_waking_all_mix_with_waking_one<2, 2, 1>>("two, both may die", every_execution()),
     row<quiet_and_waking_all_mix_with_waking_one<3, 2, 2>>("three, two may die, twice round",
                                                            sampled(200'000), sampled(30'000'000)),
     row<quiet_and_waking_all_mix_with_waking_one<3, 0, 1>>("three, nobody dies", every_execution_with(2),
                                                            every_execution_with(3)),
     row<quiet_and_waking_all_mix_with_waking_one<4, 3, 2>>("four, three may die, twice round",
                                                            sampled(200'000), sampled(40'000'000))});

}  // namespace
