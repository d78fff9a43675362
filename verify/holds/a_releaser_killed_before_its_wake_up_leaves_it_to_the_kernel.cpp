// Spec:    lock.acquire.progress
// Claim:   a releaser that is killed between freeing the lock and waking a sleeper leaves the wake-up
//          to the kernel, even if the lock is another's by then: the word still says that somebody
//          sleeps.
// Threads: 2 to 4: a victim, which dies at this moment, and others that use the lock.
// Search:  every execution for 2, bounded for 3, random for 4.
#include "model/doomed.hpp"

namespace {
using namespace heirlock::verify;

template <int threads>
struct a_releaser_killed_before_its_wake_up_leaves_it_to_the_kernel
    : OneIsDoomed<a_releaser_killed_before_its_wake_up_leaves_it_to_the_kernel<threads>, threads> {
  static bool dies_at(const ModelThread&, const Lock&, Moment moment) { return moment == Moment::waking; }
};

const Check check(__FILE__,
                  rows_of_the_doomed<a_releaser_killed_before_its_wake_up_leaves_it_to_the_kernel>());

}  // namespace
