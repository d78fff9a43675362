// Spec:    order.free-in-kernel
// Claim:   that must fail: one thread writes, and lets the kernel store 0 and wake all; the other one
//          reads when it has seen the 0. If it held, the model would take the kernel's store for a
//          release.
// Threads: 2.
// Search:  every execution.
// Verdict: data race
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

struct the_store_that_wakes_all_hands_over_no_data
    : Scenario<the_store_that_wakes_all_hands_over_no_data, 2> {
  ModelAtomic<std::uint32_t> word;
  Data data;

  the_store_that_wakes_all_hands_over_no_data() { word.store(1, Order::relaxed); }
  void writer() {
    data.change();
    ModelPlatform::clear_and_wake_all(word);
  }
  void reader() {
    ModelPlatform::Patience patience(kernel.me());
    while (word.load(Order::acquire) == 1) ModelPlatform::wait(word, 1, Deadline::never, patience);
    data.change();
  }

  static constexpr Role roles[] = {{"reader", &the_store_that_wakes_all_hands_over_no_data::reader},
                                   {"writer", &the_store_that_wakes_all_hands_over_no_data::writer}};
};

const Check check(__FILE__,
                  {row<the_store_that_wakes_all_hands_over_no_data>("nobody dies", every_execution())});

}  // namespace
