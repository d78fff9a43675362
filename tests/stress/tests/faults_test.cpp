// The faults that a seed chooses.
#include "stress/faults.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "stress/options.hpp"

using stress::Fault;
using stress::FaultPlan;
using stress::Faults;
using stress::Options;
using stress::PlannedFault;

namespace {

Options options_with(Faults faults, std::uint64_t seed) {
  Options options;
  options.threads = 3;
  options.faults = faults;
  options.faults_per_second = 200;
  options.seed = seed;
  return options;
}

const Faults all = Faults().set();

std::vector<PlannedFault> planned(const Options& options) {
  std::vector<PlannedFault> faults;
  for (FaultPlan plan(options); plan.next(); plan.advance()) faults.push_back(*plan.next());
  return faults;
}

// Spec: stress.seed
TEST(FaultPlan, the_same_seed_chooses_the_same_faults) {
  const std::string plan = plan_text(options_with(all, 7));
  EXPECT_FALSE(plan.empty());
  EXPECT_EQ(plan, plan_text(options_with(all, 7)));
}

// Spec: stress.faults
TEST(FaultPlan, each_kind_asked_for_comes_and_no_other) {
  for (const Faults& faults : {all, only(Fault::stop) | only(Fault::signal), only(Fault::kill), Faults()}) {
    Faults found;
    for (const PlannedFault& fault : planned(options_with(faults, 7))) found.set(index_of(fault.fault));
    EXPECT_EQ(stress::as_list(found), stress::as_list(faults));
  }
}

// Spec: stress.faults
TEST(FaultPlan, there_are_as_many_as_asked_for_each_second) {
  std::size_t kills = 0;
  std::size_t others = 0;
  for (const PlannedFault& fault : planned(options_with(all, 7)))
    ++(fault.fault == Fault::kill ? kills : others);
  EXPECT_EQ(kills, 500U);  // 50 a second for 10 seconds, as without options
  EXPECT_EQ(others, 2000U);
}

// Spec: stress.faults
TEST(FaultPlan, their_moments_rise_and_lie_within_the_run) {
  stress::Nanoseconds last = 0;
  for (const PlannedFault& fault : planned(options_with(all, 7))) {
    EXPECT_GE(fault.after, last);
    last = fault.after;
  }
  EXPECT_LT(last, 10 * stress::second);
}

// Spec: stress.faults
TEST(FaultPlan, exec_is_the_first_threads_and_exec_thread_any_others) {
  std::set<std::uint32_t> of_exec;
  std::set<std::uint32_t> of_exec_thread;
  std::set<std::uint32_t> of_exit;
  for (const PlannedFault& fault : planned(options_with(all, 7))) {
    if (fault.fault == Fault::exec) of_exec.insert(fault.thread);
    if (fault.fault == Fault::exec_thread) of_exec_thread.insert(fault.thread);
    if (fault.fault == Fault::exit) of_exit.insert(fault.thread);
  }
  EXPECT_EQ(of_exec, (std::set<std::uint32_t>{0}));
  EXPECT_EQ(of_exec_thread, (std::set<std::uint32_t>{1, 2}));
  EXPECT_EQ(of_exit, (std::set<std::uint32_t>{0, 1, 2}));
}

}  // namespace
