// Random programs over real processes agree with the model, step by step. ci/property runs more of them.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>

#include "property/run.hpp"

namespace property {
namespace {

using model::Action;
using model::Outcome;

constexpr int tries = 200;

// Tries a property in the test that runs, as often as said above unless RC_PARAMS says otherwise, which
// RapidCheck reads once. A failure is shortened, printed, and told how to reproduce.
template <class Property>
void check(const Property& property) {
  setenv("RC_PARAMS", ("max_success=" + std::to_string(tries)).c_str(), 0);
  rc::detail::checkGTest(property);
}

// What must have taken place at least once in so many programs, or they test less than they seem to.
void expect_all_kinds(const Tally& tally, Backstop backstop) {
  if (tally.programs() < tries) return;  // RC_PARAMS asks for fewer
  for (std::size_t i = 0; i < model::actions; ++i) {
    const auto action = static_cast<Action>(i);
    if (action == give_up && backstop == Backstop::on) continue;  // there it is part of acquire_for
    EXPECT_GT(tally.of(action), 0U) << name_of(action);
  }
  for (const Action action : {acquire, acquire_for, try_acquire})
    for (const Outcome outcome : {Outcome::acquired, Outcome::reentered, Outcome::inherited})
      EXPECT_GT(tally.of(action, outcome), 0U) << name_of(action) << ": " << name_of(outcome);
  for (const Outcome outcome : {Outcome::acquired, Outcome::inherited})
    EXPECT_GT(tally.of_coming_in(outcome), 0U) << "coming in: " << name_of(outcome);
  for (const Action action : {release, repaired})
    EXPECT_GT(tally.of(action, Outcome::refused), 0U) << name_of(action);
  EXPECT_GT(tally.of(acquire, Outcome::blocks), 0U);
  EXPECT_GT(tally.of(try_acquire, Outcome::not_acquired), 0U);
}

void expect_agreement(Backstop backstop) {
  Tally tally;
  check([&] {
    const Program program = *any_program();
    if (const std::string story = run(program, backstop, &tally); !story.empty()) RC_FAIL(story);
  });
  std::cout << tally;
  if (!testing::Test::HasFailure()) expect_all_kinds(tally, backstop);
}

// Spec: lock.acquire.free, lock.acquire.blocking, lock.acquire.exclusion, lock.acquire.progress
// Spec: lock.try.busy, lock.try.free, lock.reentry.result, lock.reentry.depth, lock.release.owner-only
// Spec: lock.release.owner-only, lock.owner.query, lock.owner.child
// Spec: lock.inherit.death, lock.inherit.flag
// Spec: property.model
TEST(Programs, agree_with_the_model_without_the_backstop) {
  expect_agreement(Backstop::off);
}

// Spec: lock.acquire.progress, lock.timeout.ends, lock.inherit.death, lock.inherit.exec, lock.owner.query
// Spec: lock.owner.query
// Spec: property.model
TEST(Programs, agree_with_the_model_as_shipped) {
  expect_agreement(Backstop::on);
}

// Spec: property.shrinks
TEST(Programs, a_failure_shrinks_to_a_few_lines) {
  rc::detail::TestParams params;
  params.maxSuccess = tries;
  params.seed = 1;  // how short it becomes is up to the program that fails first
  const rc::detail::TestResult result = rc::detail::checkTestable(
      [] {
        const Program program = *any_program();
        Tally tally;
        run(program, Backstop::off, &tally);
        if (tally.of_coming_in(Outcome::inherited) > 0) RC_FAIL("A claim that is false: no waiter inherits");
      },
      rc::detail::TestMetadata(), params);
  ASSERT_TRUE(result.is<rc::detail::FailureResult>());
  const std::string printed = result.get<rc::detail::FailureResult>().counterExample.at(0).second;
  EXPECT_LE(std::count(printed.begin(), printed.end(), '\n'), 8) << printed;
  EXPECT_EQ(printed.rfind("EXPECT_EQ(run({{", 0), 0U) << printed;
}

// As it was printed for that claim.
// Spec: property.shrinks, lock.inherit.death
TEST(Programs, a_printed_program_runs_as_a_test) {
  // clang-format off
  EXPECT_EQ(run({{1, 1}, 1, {
    {acquire, 1, 0},
    {acquire, 0, 0},
    {kill, 1, 0},
}}), "");
  // clang-format on
}

}  // namespace
}  // namespace property
