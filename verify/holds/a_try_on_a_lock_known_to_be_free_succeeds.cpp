// Spec:    lock.try.free, lock.try.busy
// Claim:   a try does not fail on a lock that the caller knows to be free, because its last owner has
//          said so after its release; whatever older values of the word it might still see.
// Threads: 2: an owner that says when it has released, and one that tries then.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <bool abandons>
struct a_try_on_a_lock_known_to_be_free_succeeds
    : Scenario<a_try_on_a_lock_known_to_be_free_succeeds<abandons>, 2> {
  using Self = a_try_on_a_lock_known_to_be_free_succeeds;
  CheckedLock lock{this->kernel, "the lock"};
  ModelAtomic<std::uint64_t> has_released;

  void owner() {
    lock.acquire();
    abandons ? lock.abandon() : lock.release();
    has_released.store(1, Order::release);
  }
  void other() {
    const bool free = has_released.load(Order::acquire) == 1;
    const auto result = lock.acquire(Deadline::passed);
    expect(!free || result != heirlock_not_acquired, "a try has failed on a free lock");
    if (result != heirlock_not_acquired) lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {{"owner", &Self::owner}, {"other", &Self::other}};
};

const Check check(__FILE__,
                  {row<a_try_on_a_lock_known_to_be_free_succeeds<false>>("nobody dies", every_execution()),
                   row<a_try_on_a_lock_known_to_be_free_succeeds<true>>("the owner gives it up",
                                                                        every_execution())});

}  // namespace
