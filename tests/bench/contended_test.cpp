#include "bench/contended.hpp"

#include <gtest/gtest.h>

namespace bench {
namespace {

// Spec: bench.quantiles
TEST(Ticks, a_wait_is_never_said_to_have_been_longer) {
  const Shared<Stage> stage;
  Ticks ticks(*stage, 10 * Ticks::period);
  const auto let_time_pass = [] {
    for (const Nanoseconds start = now(); now() - start < 100'000;) continue;
  };
  ticks.tick();
  let_time_pass();
  const Nanoseconds begin = now();
  const std::uint32_t before = stage->tick;
  for (int i = 0; i < 3; ++i) {
    let_time_pass();
    ticks.tick();
  }
  const std::uint32_t after = stage->tick;
  EXPECT_LE(ticks.least_between(before, after), now() - begin);
  EXPECT_GE(ticks.least_between(before, after), 200'000);
}

// Spec: bench.quantiles
TEST(Contended, an_acquire_that_is_not_timed_counts_for_the_longest_wait) {
  Locks<Heirlock> lock;
  const Shared<Stage> stage;
  const Shared<Account> account;
  Ticks ticks(*stage, 10 * Ticks::period);
  const Load load{Work(0, 1), Work(0, 1), ticks, 0};
  lock[0].acquire();
  Parties party(Kind::processes, 1,
                [&](int) { Contender<Heirlock>(lock[0], *stage, account, load, 0).run(); });
  stage->ready.wait();
  stage->begin.open();
  wait_until_asleep(party.process(0));
  for (int i = 0; i < 3; ++i) {
    ticks.tick();
    sleep_until(now() + 10 * millisecond);
  }
  stage->phase = Phase::over;
  lock[0].release();
  party.join();
  EXPECT_EQ(account->waits.count(), 0U);
  EXPECT_GE(account->longest_wait, 20 * millisecond);
}

// Lets everybody in.
struct NoLock {
  static constexpr bool is_local = false;

  void acquire() {}
  void release() {}
};

// Spec: bench.exclusion
TEST(Contended, a_run_whose_lock_lets_in_several_at_once_fails) {
  Options options;
  options.parties = 8;
  options.steps_per_microsecond = 1;
  EXPECT_EXIT(contended<NoLock>(options), testing::ExitedWithCode(1), "let in two parties at once");
}

}  // namespace
}  // namespace bench
