// Spec:    lock.acquire.progress, lock.timeout.not-early
// Claim:   a timed acquire that was woken looks at the lock once more before its deadline counts: if
//          nobody else wants the lock it gets it, however late it is, and whatever older value of the
//          word it can still see.
// Threads: 2: an owner and one that waits with a timeout.
// Search:  every execution.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct a_woken_timed_acquire_tries_once_more : Scenario<a_woken_timed_acquire_tries_once_more, 2> {
  CheckedLock lock{kernel, "the lock"};

  void owner() {
    lock.acquire();
    lock.release();
  }
  void hurried() {
    const auto result = lock.acquire(Deadline::passes_at_some_time);
    expect(result != heirlock_not_acquired || !kernel.me().has_ever_been_woken,
           "the only waiter was woken, and has given up");
    if (result != heirlock_not_acquired) lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr Role roles[] = {{"owner", &a_woken_timed_acquire_tries_once_more::owner},
                                   {"hurried", &a_woken_timed_acquire_tries_once_more::hurried}};
};

const Check check(__FILE__, {row<a_woken_timed_acquire_tries_once_more>("nobody dies", every_execution())});

}  // namespace
