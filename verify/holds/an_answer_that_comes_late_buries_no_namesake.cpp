// Spec:    lock.owner.thread-id-reuse, lock.inherit.missed
// Spec:    lock.acquire.exclusion, protocol.inv-id
// Claim:   an answer that the owner is gone, which was true when it was given, buries nobody to whom the dead
//          owner's thread id has come since, though it has brought the word back to the value seen: owner_id
//          tells. (Section 9 says what remains between that second look and the burial.)
// Threads: 3: an owner that vanishes, its namesake, and a waiter that is held up when it has its answer,
// until
//          the namesake owns the lock and has repaired it.
// Search:  bounded and random.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct an_answer_that_comes_late_buries_no_namesake
    : Scenario<an_answer_that_comes_late_buries_no_namesake, 3> {
  using Self = an_answer_that_comes_late_buries_no_namesake;
  CheckedLock lock{kernel, "the lock"};
  Data data;
  ModelAtomic<std::uint64_t> word_is_back;

  an_answer_that_comes_late_buries_no_namesake() {
    kernel.backstop = true;
    kernel.after_the_answer = [this] {
      while (word_is_back.newest() == 0) kernel.sleep(&word_is_back, false);
      word_is_back.load(Order::acquire);
    };
  }
  void owner() {
    lock.acquire();
    data.change();
    lock.owner_died();
    kernel.vanish();
  }
  void namesake() {
    kernel.await_end_of(0);
    std::swap(kernel.threads[0].tid, kernel.threads[1].tid);
    if (lock.acquire() == heirlock_inherited) lock.repaired();
    word_is_back.store(1, Order::release);
    kernel.wake(&word_is_back, 1);
    data.change();
    lock.release();
  }
  void waiter() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr Role roles[] = {
      {"owner", &Self::owner}, {"namesake", &Self::namesake}, {"waiter", &Self::waiter}};
};

const Check check(__FILE__,
                  {row<an_answer_that_comes_late_buries_no_namesake>("bounded", every_execution_with(2),
                                                                     every_execution_with(3)),
                   row<an_answer_that_comes_late_buries_no_namesake>("random", sampled(200'000),
                                                                     sampled(5'000'000))});

}  // namespace
