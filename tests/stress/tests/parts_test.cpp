// The parts of heirlock-stress: the plan of faults, what counts as a failure, and that each failure is seen.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "heirlock/shared.hpp"
#include "stress/bank.hpp"
#include "stress/faults.hpp"
#include "stress/options.hpp"
#include "stress/report.hpp"
#include "stress/watch.hpp"

namespace stress {
namespace {

// --- The plan of faults ------------------------------------------------------------------------------------

const Faults all = Faults().set();

std::vector<PlannedFault> planned(Faults faults) {
  Options options;
  options.threads = 3;
  options.faults = faults;
  options.faults_per_second = 200;
  options.seed = 7;
  std::vector<PlannedFault> plan;
  for (FaultPlan next(options); next.next(); next.advance()) plan.push_back(*next.next());
  return plan;
}

// Spec: stress.seed
TEST(FaultPlan, the_same_seed_chooses_the_same_faults) {
  const auto once = planned(all), again = planned(all);
  ASSERT_EQ(once.size(), again.size());
  for (std::size_t i = 0; i < once.size(); ++i) {
    EXPECT_EQ(once[i].after, again[i].after);
    EXPECT_EQ(once[i].fault, again[i].fault);
    EXPECT_EQ(once[i].worker, again[i].worker);
    EXPECT_EQ(once[i].thread, again[i].thread);
  }
}

// Spec: stress.faults
TEST(FaultPlan, each_kind_asked_for_comes_and_no_other) {
  for (const Faults& faults : {all, only(Fault::stop) | only(Fault::signal), only(Fault::kill), Faults()}) {
    Faults found;
    for (const PlannedFault& fault : planned(faults)) found.set(index_of(fault.fault));
    EXPECT_EQ(as_list(found), as_list(faults));
  }
}

// Spec: stress.faults
TEST(FaultPlan, as_many_as_asked_for_come_in_order) {
  std::size_t kills = 0, others = 0;
  Nanoseconds last = 0;
  for (const PlannedFault& fault : planned(all)) {
    ++(fault.fault == Fault::kill ? kills : others);
    EXPECT_GE(fault.after, last);
    last = fault.after;
  }
  EXPECT_EQ(kills, 500U);  // 50 a second for 10 seconds, as without options
  EXPECT_EQ(others, 2000U);
  EXPECT_LT(last, 10 * second);
}

// Spec: stress.faults
TEST(FaultPlan, exec_is_of_the_first_thread_and_exec_thread_of_the_others) {
  std::set<std::uint32_t> of_exec, of_exec_thread, of_exit;
  for (const PlannedFault& fault : planned(all)) {
    if (fault.fault == Fault::exec) of_exec.insert(fault.thread);
    if (fault.fault == Fault::exec_thread) of_exec_thread.insert(fault.thread);
    if (fault.fault == Fault::exit) of_exit.insert(fault.thread);
  }
  EXPECT_EQ(of_exec, (std::set<std::uint32_t>{0}));
  EXPECT_EQ(of_exec_thread, (std::set<std::uint32_t>{1, 2}));
  EXPECT_EQ(of_exit, (std::set<std::uint32_t>{0, 1, 2}));
}

// --- The verdict -------------------------------------------------------------------------------------------

void expect_in_report(const Result& result, const std::string& text) {
  EXPECT_NE(report(result).find(text), std::string::npos) << "not in the report: " << text << report(result);
}

// Spec: stress.verdict
TEST(Verdict, zeros_pass) {
  EXPECT_TRUE(Result().passed());
  expect_in_report(Result(), "\nPASSED: ");
}

// Spec: stress.verdict
TEST(Verdict, one_that_is_not_zero_fails) {
  const std::pair<const char*, void (*)(Result&)> cases[] = {
      {"money lost", [](Result& result) { result.money_lost = 1; }},
      {"stranded waiters", [](Result& result) { result.stranded_waiters = 1; }},
      {"wrong owners", [](Result& result) { result.wrong_owners = 1; }},
      {"failed workers", [](Result& result) { result.failures = {"worker 7 crashed"}; }},
      {"locks never free", [](Result& result) { result.locks_lost = 1; }}};
  for (const auto& [row, spoil] : cases) {
    Result result;
    spoil(result);
    EXPECT_FALSE(result.passed()) << row;
    const std::string blanks(39 - std::string(row).size(), ' ');
    expect_in_report(result, "\n  " + std::string(row) + blanks + "1   must be 0: FAILED\n");
    expect_in_report(result, "\nFAILED: ");
    EXPECT_EQ(report(result).find("PASSED"), std::string::npos) << row;
  }
}

// Spec: stress.verdict
TEST(Verdict, it_says_behind_what_the_waiters_were_stranded) {
  const std::pair<Obstacle, std::string> cases[] = {
      {Obstacle::nobody, "for a lock that was free"},
      {Obstacle::dead_owner, "behind an owner that is dead"},
      {Obstacle::unaware_owner, "behind an owner that does not know that it is the owner"},
      {Obstacle::unknown_owner, "for a lock that was not free but had no owner"}};
  for (const auto& [obstacle, words] : cases) {
    Result result;
    result.stranded_waiters = 15;
    result.stranded_behind[static_cast<std::size_t>(obstacle)] = 15;
    expect_in_report(result, "\n  stranded: 15 waited over 2 s " + words + "\n");
  }
}

// Spec: stress.faults
TEST(Verdict, it_says_how_many_of_the_planned_faults_took_place) {
  Result result;
  result.asked = all;
  result.elapsed = 10 * second;
  result.faults[index_of(Fault::kill)] = 260;
  result.planned[index_of(Fault::kill)] = 320;
  expect_in_report(result, " 260   (26/s, 320 planned)\n");
}

// Spec: stress.interrupt
TEST(Verdict, an_interrupted_run_does_not_say_that_it_passed) {
  Result result;
  result.interrupted = true;
  result.elapsed = 1600 * millisecond;
  result.seconds_asked = 20;
  expect_in_report(result, "\nINTERRUPTED after 1.6 s of 20: nothing lost, nobody stranded until then\n");
  EXPECT_EQ(report(result).find("PASSED"), std::string::npos);
  result.money_lost = 1;
  expect_in_report(result, "\nINTERRUPTED after 1.6 s of 20\nFAILED");
}

// --- Stranded waiters --------------------------------------------------------------------------------------

class Watching : public testing::Test {
 protected:
  // Looks every 100 ms from `begin` to `end`.
  void look(Nanoseconds begin, Nanoseconds end, bool is_free, std::uint64_t visits) {
    for (Nanoseconds moment = begin; moment <= end; moment += 100 * millisecond)
      watch.look(moment, is_free, visits);
  }
  FreeLockWatch watch;
};

// Spec: stress.stranded
TEST_F(Watching, a_waiter_on_a_lock_that_stays_free_is_stranded) {
  look(10 * second, 13 * second, true, 5);
  EXPECT_GT(watch.waited_while_free(9 * second), 2 * second);
  EXPECT_EQ(watch.waited_while_free(12 * second), second);  // not by the time before it waited
}

// Spec: stress.stranded
TEST_F(Watching, a_waiter_that_others_overtake_is_not_stranded) {
  for (std::uint64_t visit = 0; visit < 100; ++visit) {
    const auto moment = static_cast<Nanoseconds>(visit) * second / 10;
    look(moment, moment, true, visit);
  }
  EXPECT_EQ(watch.waited_while_free(1), 0);
}

// Spec: stress.stranded
TEST_F(Watching, a_waiter_behind_an_owner_is_not_stranded) {
  look(10 * second, 13 * second, false, 5);
  EXPECT_EQ(watch.waited_while_free(9 * second), 0);
}

// Spec: stress.stranded
TEST_F(Watching, nothing_is_concluded_from_a_time_without_looking) {
  watch.look(10 * second, true, 5);
  watch.look(20 * second, true, 5);
  EXPECT_EQ(watch.waited_while_free(9 * second), 0);
}

// Spec: stress.stranded
TEST(Stranded, a_wait_may_be_a_second_longer_where_only_waiters_notice_a_death) {
  EXPECT_EQ(stranded_after(all & ~only(Fault::exec_thread)), 2 * second);
  EXPECT_EQ(stranded_after(only(Fault::exec_thread)), 3 * second);
}

// --- Money and owners --------------------------------------------------------------------------------------

class Banking : public testing::Test {
 protected:
  heirlock::Shared<Line> line;
  Bank bank{LockKind::heirlock, 3};
  Ledger& ledger = bank.ledger();
  Visitor me{*line};
};

// Spec: stress.verdict
TEST_F(Banking, transfers_satisfy_every_check) {
  EXPECT_TRUE(bank.transfer({0, 1, 300}));
  EXPECT_FALSE(bank.transfer({0, 2, 701}));
  bank.there_and_back({2, 0, 1000});
  EXPECT_EQ(ledger.balances[0].load(), 700);
  EXPECT_EQ(ledger.balances[1].load(), 1300);
  EXPECT_EQ(bank.audit(), 0);
  bank.check_outside();
  EXPECT_EQ(line->money_lost.read(), 0);
  EXPECT_EQ(line->wrong_owners.read(), 0U);
  EXPECT_EQ(line->waits.count(), 4U);
}

// Spec: stress.locks
TEST_F(Banking, a_visitor_of_two_banks_is_checked_in_each) {
  Bank other(LockKind::heirlock, 3, 1);
  {
    const Bank::Visit visit(bank);
    other.transfer({0, 1, 300});
    other.check_outside();
    bank.transfer({1, 0, 300});
  }
  EXPECT_EQ(line->wrong_owners.read(), 0U);
  other.ledger().inside.store(12345);
  other.transfer({0, 1, 1});
  EXPECT_EQ(line->wrong_owners.read(), 1U);
}

// Spec: stress.verdict
TEST_F(Banking, a_loss_that_one_audit_saw_stays_on_record) {
  ledger.balances[2].store(990);
  EXPECT_EQ(bank.audit(), -10);
  ledger.balances[2].store(1000);
  EXPECT_EQ(bank.audit(), 0);
  EXPECT_EQ(line->money_lost.read(), 10);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_that_meets_another_one_counts_a_wrong_owner) {
  ledger.inside.store(12345);
  bank.transfer({0, 1, 1});
  EXPECT_EQ(line->wrong_owners.read(), 1U);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_that_loses_the_lock_counts_a_wrong_owner) {
  {
    const Bank::Visit visit(bank);
    bank.lock().release();
  }
  EXPECT_EQ(line->wrong_owners.read(), 1U);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_that_holds_the_lock_too_often_counts_a_wrong_owner) {
  bank.lock().acquire(std::nullopt);
  bank.transfer({0, 1, 1});
  EXPECT_GT(line->wrong_owners.read(), 0U);
  bank.lock().release();
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_that_still_holds_what_it_released_counts_a_wrong_owner) {
  bank.lock().acquire(std::nullopt);
  bank.check_outside();
  EXPECT_EQ(line->wrong_owners.read(), 1U);
  bank.lock().release();
}

}  // namespace
}  // namespace stress
