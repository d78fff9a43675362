// Spec:    lock.acquire.progress
// Claim:   a waiter that is killed in its sleep has used up no wake-up: all others get the lock.
// Threads: 2 to 4: a victim, which dies at this moment, and others that use the lock.
// Search:  every execution for 2, bounded for 3, random for 4.
#include "model/doomed.hpp"

namespace {
using namespace heirlock::verify;

template <int threads>
struct a_waiter_killed_asleep_costs_nobody_the_lock
    : OneIsDoomed<a_waiter_killed_asleep_costs_nobody_the_lock<threads>, threads> {
  static bool dies_at(const ModelThread&, const Lock&, Moment moment) { return moment == Moment::asleep; }
};

const Check check(__FILE__, rows_of_the_doomed<a_waiter_killed_asleep_costs_nobody_the_lock>());

}  // namespace
