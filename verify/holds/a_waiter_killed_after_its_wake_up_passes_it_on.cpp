// Spec:    lock.acquire.progress
// Claim:   a waiter that is killed when it was woken and has not run yet leaves its wake-up to the next
//          sleeper: its pending mark tells the kernel to wake one.
// Threads: 2 to 4: a victim, which dies at this moment, and others that use the lock.
// Search:  every execution for 2, bounded for 3, random for 4.
#include "model/doomed.hpp"

namespace {
using namespace heirlock::verify;

template <int threads>
struct a_waiter_killed_after_its_wake_up_passes_it_on
    : OneIsDoomed<a_waiter_killed_after_its_wake_up_passes_it_on<threads>, threads> {
  static bool dies_at(const ModelThread& victim, const Lock&, Moment) { return victim.has_been_woken; }
};

const Check check(__FILE__, rows_of_the_doomed<a_waiter_killed_after_its_wake_up_passes_it_on>());

}  // namespace
