// Spec:    lock.release.untouched
// Claim:   that must fail: a lock is destroyed, and its owner_id is read. If it held, the model would not
// notice a
//          release that touches a lock which is gone.
// Threads: 2. Search: every execution.
// Verdict: access to freed memory
#include <new>

#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct memory_that_was_given_back_may_be_read : Scenario<memory_that_was_given_back_may_be_read, 2> {
  CheckedLock lock{kernel, "the lock"};

  void user() {
    kernel.forget(lock.memory);
    lock.memory.~Lock();
    lock.memory.owner_id.load(Order::relaxed);
  }
  void other() {}
  void at_the_end() { ::new (static_cast<void*>(&lock.memory)) Lock; }

  static constexpr Role roles[] = {{"user", &memory_that_was_given_back_may_be_read::user},
                                   {"other", &memory_that_was_given_back_may_be_read::other}};
};

const Check check(__FILE__, {row<memory_that_was_given_back_may_be_read>("nobody dies", every_execution())});

}  // namespace
