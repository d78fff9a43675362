// Spec:    lock.inherit.missed, lock.acquire.visibility, lock.acquire.exclusion
// Spec:    order.bury-it
// Claim:   the one place where the backstop counts: if the kernel missed the death of an owner, a
//          waiter whose slice has ended asks after the owner, and the lock is inherited, with the dead
//          owner's writes, by whoever comes first; an owner that lives is left alone; and a timed
//          acquire asks before it gives up.
// Threads: 3: an owner that vanishes or not, and two waiters, one of which may be timed. Slices may end
//          at any time.
// Search:  bounded and random. (Reduced search does not know what the end of a slice depends on.)
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <bool vanishes, Deadline deadline>
struct a_death_that_the_kernel_missed_is_found_out
    : Scenario<a_death_that_the_kernel_missed_is_found_out<vanishes, deadline>, 3> {
  using Self = a_death_that_the_kernel_missed_is_found_out;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  a_death_that_the_kernel_missed_is_found_out() {
    this->kernel.backstop = true;
    for (auto& thread : this->kernel.threads) thread.slices_left = 1;
  }
  void owner() {
    lock.acquire();
    data.change();
    if (vanishes) {
      lock.owner_died();
      this->kernel.vanish();
    }
    lock.release();
  }
  void waiter() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void hurried() {
    const bool knows_that_the_owner_is_gone = this->kernel.has_gone(0);
    const auto result = lock.acquire(deadline);
    if (result != heirlock_not_acquired) {
      data.change();
      lock.release();
    } else {
      expect(!vanishes || !knows_that_the_owner_is_gone || !is_owner(this->kernel.threads[0], lock.memory),
             "an acquire has given up on a lock whose owner it knew to be gone");
    }
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {
      {"owner", &Self::owner}, {"hurried", &Self::hurried}, {"waiter", &Self::waiter}};
};

template <bool vanishes>
using with_no_deadline = a_death_that_the_kernel_missed_is_found_out<vanishes, Deadline::never>;
template <bool vanishes>
using with_a_try = a_death_that_the_kernel_missed_is_found_out<vanishes, Deadline::passed>;
template <bool vanishes>
using with_a_deadline = a_death_that_the_kernel_missed_is_found_out<vanishes, Deadline::passes_at_some_time>;

const Check check(
    __FILE__,
    {row<with_a_deadline<true>>("it vanishes, one is timed", every_execution_with(1),
                                every_execution_with(2)),
     row<with_a_deadline<true>>("the same, random", sampled(200'000), sampled(10'000'000)),
     row<with_a_try<true>>("it vanishes, one tries", every_execution_with(1), every_execution_with(2)),
     row<with_no_deadline<true>>("the owner vanishes", every_execution_with(1), every_execution_with(3)),
     row<with_no_deadline<false>>("the owner lives", every_execution_with(2), every_execution_with(3))});

}  // namespace
