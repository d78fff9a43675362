// Spec:    lock.owner.copies, lock.reentry.result, lock.reentry.depth, protocol.inv-pending
// Claim:   a thread that two copies of the library know by two ids re-enters through one what it took through
//          the other, and may release through either, in any order.
// Threads: 2: the thread with two ids, and another user of the lock; either may die before any step.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int deaths>
struct a_thread_with_two_ids_is_one_owner : Scenario<a_thread_with_two_ids_is_one_owner<deaths>, 2, deaths> {
  using Self = a_thread_with_two_ids_is_one_owner;
  CheckedLock lock{this->kernel, "the lock"};

  void owner() {
    std::uint64_t& id = this->kernel.me().id;
    const std::uint64_t in_one = id, in_the_other = id + 100;
    lock.acquire();
    id = in_the_other;
    lock.acquire();
    lock.acquire(Deadline::passed);
    lock.release();
    expect(algorithm.is_owned(lock.memory), "the owner does not know itself by its other id");
    lock.release();
    id = in_one;
    expect(algorithm.is_owned(lock.memory), "the owner does not know itself any more");
    id = in_the_other;
    lock.release();
    expect(!algorithm.is_owned(lock.memory), "a lock that was released is still owned");
  }
  void user() {
    lock.acquire();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"user", &Self::user}};
};

const Check check(__FILE__,
                  {row<a_thread_with_two_ids_is_one_owner<0>>("nobody dies", every_execution()),
                   row<a_thread_with_two_ids_is_one_owner<2>>("either may die", every_execution())});

}  // namespace
