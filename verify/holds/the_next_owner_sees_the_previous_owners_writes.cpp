// Spec:    lock.acquire.visibility
// Spec:    order.take, order.free-it, order.free-in-kernel
// Claim:   what one owner wrote under the lock, the next owner reads, whether the former released the
//          lock or died with it, and in whatever form the lock was freed.
// Threads: 2, both of which may die before any step; 3 with one death. Whether a release wakes one or
//          all is drawn. Data that no order protects is reported as a data race.
// Search:  every execution for 2; bounded and random for 3.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct the_next_owner_sees_the_previous_owners_writes
    : Scenario<the_next_owner_sees_the_previous_owners_writes<threads, deaths>, threads, deaths> {
  using Self = the_next_owner_sees_the_previous_owners_writes;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  the_next_owner_sees_the_previous_owners_writes() { this->kernel.quiet_is_random = true; }
  void owner() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() {
    expect_usable(lock);
    if (this->kernel.deaths_left == deaths) expect(data.read() == 2 * threads, "a change is lost");
  }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"next", &Self::owner}};
};

const Check check(
    __FILE__,
    {row<the_next_owner_sees_the_previous_owners_writes<2, 0>>("clean release", every_execution()),
     row<the_next_owner_sees_the_previous_owners_writes<2, 2>>("either may die", every_execution()),
     row<the_next_owner_sees_the_previous_owners_writes<3, 1>>("three, one may die", every_execution_with(1),
                                                               every_execution_with(2)),
     row<the_next_owner_sees_the_previous_owners_writes<3, 3>>("three, all may die", sampled(200'000),
                                                               sampled(15'000'000))});

}  // namespace
