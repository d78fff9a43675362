// Spec:    lock.acquire.exclusion
// Spec:    lock.reentry.result, protocol.inv-pending
// Claim:   at no time do two threads own the lock, whoever dies when.
// Threads: 2 and 3; each acquires, re-enters, and releases twice; each may die before any step.
// Search:  every execution for 2 threads; bounded and random for 3 and 4.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct only_one_thread_owns_the_lock
    : Scenario<only_one_thread_owns_the_lock<threads, deaths>, threads, deaths> {
  using Self = only_one_thread_owns_the_lock;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  void user() {
    lock.acquire();
    data.change();
    lock.acquire();
    lock.release();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(__FILE__,
                  {row<only_one_thread_owns_the_lock<2, 0>>("two, nobody dies", every_execution()),
                   row<only_one_thread_owns_the_lock<2, 2>>("two, both may die", every_execution()),
                   row<only_one_thread_owns_the_lock<3, 1>>("three, one may die", every_execution_with(1),
                                                            every_execution_with(2)),
                   row<only_one_thread_owns_the_lock<4, 2>>("four, two may die", sampled(200'000),
                                                            sampled(30'000'000))});

}  // namespace
