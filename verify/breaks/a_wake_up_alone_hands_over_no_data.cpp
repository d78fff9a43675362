// Spec:    lock.acquire.visibility
// Claim:   that must fail: one thread writes, wakes another, and that one reads. If it held, the kernel
//          of the model would order memory, and the scenarios would prove less than they say.
// Threads: 2.
// Search:  every execution.
// Verdict: data race
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct a_wake_up_alone_hands_over_no_data : Scenario<a_wake_up_alone_hands_over_no_data, 2> {
  ModelAtomic<std::uint32_t> word;
  Data data;

  void writer() {
    data.change();
    word.store(1, Order::relaxed);
    ModelPlatform::wake_one(word);
  }
  void reader() {
    ModelPlatform::Patience patience(kernel.me());
    while (word.newest() == 0) ModelPlatform::wait(word, 0, Deadline::never, patience);
    data.change();
  }

  static constexpr Role roles[] = {{"reader", &a_wake_up_alone_hands_over_no_data::reader},
                                   {"writer", &a_wake_up_alone_hands_over_no_data::writer}};
};

const Check check(__FILE__, {row<a_wake_up_alone_hands_over_no_data>("nobody dies", every_execution())});

}  // namespace
