// Spec:    lock.acquire.signal, lock.acquire.blocking
// Claim:   a wait may return for a signal, or for no reason: the acquire goes on until it has the lock.
// Threads: 2 with two such returns each, either of which may die; 3 with one.
// Search:  every execution for 2, bounded for 3.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths, int returns>
struct a_wait_that_returns_for_no_reason_is_not_the_end
    : Scenario<a_wait_that_returns_for_no_reason_is_not_the_end<threads, deaths, returns>, threads, deaths> {
  using Self = a_wait_that_returns_for_no_reason_is_not_the_end;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  a_wait_that_returns_for_no_reason_is_not_the_end() {
    for (auto& thread : this->kernel.threads) thread.spurious_returns_left = returns;
  }
  void user() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"user", &Self::user}};
};

const Check check(__FILE__,
                  {row<a_wait_that_returns_for_no_reason_is_not_the_end<2, 2, 2>>("two, both may die",
                                                                                  every_execution()),
                   row<a_wait_that_returns_for_no_reason_is_not_the_end<3, 1, 1>>("three, one may die",
                                                                                  every_execution_with(1),
                                                                                  every_execution_with(2))});

}  // namespace
