// Spec:    lock.inherit.death
// Claim:   an owner that is killed when it has taken the lock off its list and not yet freed it leaves
//          it to an heir: its pending mark names the lock.
// Threads: 2 to 4: a victim, which dies at a step in between, and others that use the lock.
// Search:  every execution for 2, bounded for 3, random for 4.
#include "model/doomed.hpp"

namespace {
using namespace heirlock::verify;

template <int threads>
struct an_owner_killed_after_it_unlinks_leaves_the_lock_to_an_heir
    : OneIsDoomed<an_owner_killed_after_it_unlinks_leaves_the_lock_to_an_heir<threads>, threads> {
  static bool dies_at(const ModelThread& victim, const Lock& lock, Moment) {
    return victim.has_listed_a_lock && lists_nothing(victim) && is_owner(victim, lock) && choices().rarely();
  }
};

const Check check(__FILE__,
                  rows_of_the_doomed<an_owner_killed_after_it_unlinks_leaves_the_lock_to_an_heir>());

}  // namespace
