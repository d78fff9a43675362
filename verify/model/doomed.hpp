// Scenarios in which the first thread dies at one moment, and nobody else dies: all use one lock, once.
#ifndef HEIRLOCK_VERIFY_MODEL_DOOMED_HPP
#define HEIRLOCK_VERIFY_MODEL_DOOMED_HPP

#include "model/scenario.hpp"

namespace heirlock::verify {

/// Derived has `static bool dies_at(const ModelThread& victim, const Lock&, Moment)`, which is asked for the
/// victim alone.
template <class Derived, int threads>
struct OneIsDoomed : Scenario<Derived, threads, 1> {
  using Self = OneIsDoomed;
  CheckedLock lock{this->kernel, "the lock"};
  Data data;

  OneIsDoomed() {
    this->kernel.death_comes = [](Moment moment) {
      const Kernel& running = Kernel::running();
      const ModelThread& victim = running.threads[0];
      return &running.me() == &victim && Derived::dies_at(victim, running.first_lock(), moment);
    };
  }
  void use() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr
      typename Scenario<Derived, threads, 1>::Role roles[] = {{"victim", &Self::use}, {"user", &Self::use}};
};

/// The rows of such a scenario: a template over the number of threads.
template <template <int> class S>
std::vector<Row> rows_of_the_doomed() {
  return {row<S<2>>("two", every_execution()),
          row<S<3>>("three", every_execution_with(2), every_execution_with(3)),
          row<S<4>>("four", sampled(200'000), sampled(10'000'000))};
}

}  // namespace heirlock::verify
#endif
