// What counts as failed, and that heirlock-stress would notice.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "heirlock/shared.hpp"
#include "stress/bank.hpp"
#include "stress/report.hpp"
#include "stress/watch.hpp"

using stress::Bank;
using stress::FreeLockWatch;
using stress::Ledger;
using stress::Line;
using stress::millisecond;
using stress::Nanoseconds;
using stress::Obstacle;
using stress::Result;
using stress::second;
using stress::Visitor;

namespace {

// --- The verdict -------------------------------------------------------------------------------------------

// Spec: stress.verdict
TEST(Verdict, three_zeros_pass) {
  const Result result;
  EXPECT_TRUE(result.passed());
  EXPECT_NE(table(result).find("PASSED"), std::string::npos);
  EXPECT_EQ(table(result).find("FAILED"), std::string::npos);
}

void expect_failed(const Result& result, const std::string& row) {
  EXPECT_FALSE(result.passed());
  const std::string text = table(result);
  const std::size_t found = text.find(row);
  ASSERT_NE(found, std::string::npos) << text;
  EXPECT_NE(text.substr(found, text.find('\n', found) - found).find("must be 0: FAILED"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("PASSED"), std::string::npos) << text;
}

// Spec: stress.verdict
TEST(Verdict, money_lost_fails) {
  Result result;
  result.money_lost = 1;
  expect_failed(result, "money lost");
}

// Spec: stress.verdict
TEST(Verdict, a_stranded_waiter_fails) {
  Result result;
  result.stranded_waiters = 1;
  expect_failed(result, "stranded waiters");
}

// Spec: stress.verdict
TEST(Verdict, a_wrong_owner_fails) {
  Result result;
  result.wrong_owners = 1;
  expect_failed(result, "wrong owners seen");
}

// Spec: stress.verdict
TEST(Verdict, a_worker_that_crashed_fails) {
  Result result;
  result.failures = {"worker 7 crashed"};
  expect_failed(result, "failed workers");
  EXPECT_NE(table(result).find("worker 7 crashed"), std::string::npos);
}

// Spec: stress.verdict
TEST(Verdict, a_lock_that_nobody_can_have_any_more_fails) {
  Result result;
  result.locks_lost = 1;
  expect_failed(result, "locks never free again");
}

// Spec: stress.verdict
TEST(Verdict, nothing_is_said_to_have_been_seen_where_nothing_was) {
  EXPECT_TRUE(what_was_seen(Result{}).empty());
}

std::string last_line_of(const Result& result) {
  const std::string text = table(result);
  return text.substr(text.rfind('\n', text.size() - 2) + 1);
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
    EXPECT_EQ(last_line_of(result), "  stranded: 15 threads waited over 2 s " + words + "\n");
  }
}

// Spec: stress.verdict
TEST(Verdict, it_says_how_much_was_lost) {
  Result result;
  result.money_lost = 1224;
  EXPECT_EQ(last_line_of(result), "  lost: the sum of the balances was wrong by 1,224\n");
}

// Spec: stress.faults
TEST(Verdict, the_table_has_a_row_for_each_fault_asked_for_and_for_no_other) {
  Result result;
  result.asked = only(stress::Fault::kill) | only(stress::Fault::fork);
  result.faults[index_of(stress::Fault::fork)] = 17;
  EXPECT_NE(table(result).find("fault: fork                           17\n"), std::string::npos)
      << table(result);
  EXPECT_EQ(table(result).find("fault: exit"), std::string::npos);
}

// Spec: stress.faults
TEST(Verdict, it_says_of_how_many_planned_faults_those_are_that_took_place) {
  Result result;
  result.asked.set();
  result.elapsed = 10 * second;
  result.kills = 260;
  result.planned[index_of(stress::Fault::kill)] = 320;
  result.faults[index_of(stress::Fault::fork)] = 5;
  result.planned[index_of(stress::Fault::fork)] = 11;
  const std::string text = table(result);
  EXPECT_NE(text.find(" 260   (26/s; 320 planned)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("fault: fork                            5   (of 11 planned)\n"), std::string::npos)
      << text;
}

// Spec: stress.verdict
TEST(Verdict, the_recoveries_add_up) {
  Result result;
  result.finished = 16;
  result.undone = 22;
  result.none_under_way = 7;
  const std::string text = table(result);
  EXPECT_NE(text.find("45   (transfers finished: 16, undone: 22, none under way: 7)\n"), std::string::npos)
      << text;
}

// Spec: stress.interrupt
TEST(Verdict, an_interrupted_run_does_not_say_that_it_passed) {
  Result result;
  result.interrupted = true;
  result.elapsed = 1600 * millisecond;
  result.seconds_asked = 20;
  EXPECT_EQ(last_line_of(result),
            "INTERRUPTED after 1.6 s of 20: nothing lost, nobody stranded until then\n");
  result.money_lost = 1;
  const std::string text = table(result);
  EXPECT_NE(text.find("\nINTERRUPTED after 1.6 s of 20\nFAILED"), std::string::npos) << text;
}

// Spec: stress.verdict
TEST(Verdict, a_run_that_ended_by_itself_says_when_and_why) {
  Result result;
  result.elapsed = 3300 * millisecond;
  result.seconds_asked = 10;
  result.ended_early = "nobody will get that lock";
  result.locks_lost = 1;
  const std::string text = table(result);
  EXPECT_NE(text.find("\nended after 3.3 s of 10: nobody will get that lock\nFAILED"), std::string::npos)
      << text;
  EXPECT_EQ(last_line_of(result),
            "  blocked: 1 lock could not be acquired, although no other thread was left to hold it\n");
}

// Spec: stress.json
TEST(Verdict, the_longest_wait_is_told_in_a_unit_that_shows_it) {
  const std::pair<Nanoseconds, std::string> cases[] = {{0, " 0 us\n"},
                                                       {64 * stress::microsecond, " 64 us\n"},
                                                       {3'140 * stress::microsecond, " 3.14 ms\n"},
                                                       {46'210 * stress::microsecond, " 46.2 ms\n"},
                                                       {310 * millisecond, " 310 ms\n"},
                                                       {3047 * millisecond, " 3.05 s\n"}};
  for (const auto& [wait, words] : cases) {
    Result result;
    result.longest_wait = wait;
    const std::string text = table(result);
    const std::size_t row = text.find("longest wait");
    EXPECT_NE(text.substr(row, text.find('\n', row) + 1 - row).find(words), std::string::npos) << text;
  }
}

// --- Waiting times -----------------------------------------------------------------------------------------

// Spec: stress.json
TEST(Histogram, each_range_of_waits_begins_where_the_one_before_ends) {
  EXPECT_EQ(stress::range_of_wait(0), 0U);
  for (std::size_t range = 0; range + 1 < stress::wait_ranges; ++range) {
    EXPECT_EQ(stress::range_of_wait(stress::end_of_range(range) - 1), range);
    EXPECT_EQ(stress::range_of_wait(stress::end_of_range(range)), range + 1);
  }
  EXPECT_EQ(stress::range_of_wait(std::numeric_limits<Nanoseconds>::max()), stress::wait_ranges - 1);
}

// Spec: stress.json
TEST(Histogram, it_is_printed_from_the_first_range_with_a_wait_to_the_last) {
  Result result;
  result.waits[1] = 1;
  result.waits[3] = 1000;
  const std::string expected =
      "\n  waits under 2 us                       1   #"
      "\n  waits under 4 us                       0"
      "\n  waits under 8 us                   1,000   ##########"
      "\n\n  waits                              1,001"
      "\n  operations";
  EXPECT_EQ(table(result).substr(0, expected.size()), expected);
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
}

// Spec: stress.stranded
TEST_F(Watching, a_waiter_is_not_stranded_by_the_time_before_it_waited) {
  look(10 * second, 13 * second, true, 5);
  EXPECT_EQ(watch.waited_while_free(12 * second), second);
}

// Spec: stress.stranded
TEST_F(Watching, a_waiter_that_others_overtake_is_not_stranded) {
  for (std::uint64_t visit = 0; visit < 100; ++visit)
    look(static_cast<Nanoseconds>(visit) * second / 10, static_cast<Nanoseconds>(visit) * second / 10, true,
         visit);
  EXPECT_EQ(watch.waited_while_free(1), 0);
}

// Spec: stress.stranded
TEST_F(Watching, a_waiter_behind_an_owner_is_not_stranded) {
  look(10 * second, 13 * second, false, 5);
  EXPECT_EQ(watch.waited_while_free(9 * second), 0);
}

// Spec: stress.stranded
TEST(Stranded, a_wait_may_be_a_second_longer_where_only_waiters_notice_a_death) {
  EXPECT_EQ(stress::stranded_after(stress::Faults().set().reset(index_of(stress::Fault::exec_thread))),
            2 * second);
  EXPECT_EQ(stress::stranded_after(only(stress::Fault::exec_thread)), 3 * second);
}

// Spec: stress.stranded
TEST_F(Watching, nothing_is_concluded_from_a_time_without_looking) {
  watch.look(10 * second, true, 5);
  watch.look(20 * second, true, 5);
  EXPECT_EQ(watch.waited_while_free(9 * second), 0);
}

// --- Money and owners --------------------------------------------------------------------------------------

class Banking : public testing::Test {
 protected:
  heirlock::Shared<Ledger> ledger{3U};
  heirlock::Shared<Line> line;
  Bank bank{*ledger};
  Visitor me{*line};
};

// Spec: stress.verdict
TEST_F(Banking, transfers_keep_every_check_content) {
  EXPECT_TRUE(bank.transfer({0, 1, 300}));
  EXPECT_FALSE(bank.transfer({0, 2, 701}));
  heirlock::locked<&Bank::there_and_back>(bank, stress::Transfer{2, 0, 1000});
  EXPECT_EQ(ledger->balances[0].load(), 700);
  EXPECT_EQ(ledger->balances[1].load(), 1300);
  EXPECT_EQ(heirlock::locked<&Bank::audit>(bank), 0);
  bank.check_outside();
  EXPECT_EQ(line->money_lost.read(), 0);
  EXPECT_EQ(line->wrong_owners.read(), 0U);
}

// Spec: stress.locks
TEST_F(Banking, a_visitor_of_two_banks_is_checked_in_each) {
  heirlock::Shared<Ledger> other_ledger{3U};
  Bank other(*other_ledger, 1);
  ASSERT_TRUE(bank.acquire());
  {
    const Bank::Visit visit(bank);
    other.transfer({0, 1, 300});
    other.check_outside();
    bank.transfer({1, 0, 300});
  }
  bank.release();
  EXPECT_EQ(line->wrong_owners.read(), 0U);
  other_ledger->inside.store(12345);
  other.transfer({0, 1, 1});
  EXPECT_EQ(line->wrong_owners.read(), 1U);
}

// Spec: stress.json
TEST_F(Banking, each_wait_is_counted_once) {
  me.begin_to_wait();
  bank.transfer({0, 1, 1});
  me.begin_to_wait();
  me.stop_waiting();
  std::uint64_t waits = 0;
  for (const auto& range : line->waits) waits += range.read();
  EXPECT_EQ(waits, 2U);
}

// Spec: stress.verdict
TEST_F(Banking, a_loss_that_one_audit_saw_stays_on_record) {
  ledger->balances[2].store(990);
  EXPECT_EQ(heirlock::locked<&Bank::audit>(bank), -10);
  ledger->balances[2].store(1000);
  EXPECT_EQ(heirlock::locked<&Bank::audit>(bank), 0);
  EXPECT_EQ(line->money_lost.read(), 10);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_who_finds_another_one_inside_counts_a_wrong_owner) {
  ledger->inside.store(12345);
  bank.transfer({0, 1, 1});
  EXPECT_EQ(line->wrong_owners.read(), 1U);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_who_does_not_hold_the_lock_counts_a_wrong_owner) {
  static_cast<void>(Bank::Visit(bank));
  EXPECT_GT(line->wrong_owners.read(), 0U);
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_who_holds_the_lock_more_often_than_it_knows_counts_a_wrong_owner) {
  ASSERT_TRUE(bank.acquire());
  bank.transfer({0, 1, 1});
  EXPECT_GT(line->wrong_owners.read(), 0U);
  bank.release();
}

// Spec: stress.verdict
TEST_F(Banking, a_visitor_who_still_holds_what_it_released_counts_a_wrong_owner) {
  ASSERT_TRUE(bank.acquire());
  bank.check_outside();
  EXPECT_EQ(line->wrong_owners.read(), 1U);
  bank.release();
}

}  // namespace
