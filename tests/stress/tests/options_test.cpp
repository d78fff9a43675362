#include "stress/options.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stress/report.hpp"

using stress::Help;
using stress::Mistake;
using stress::Options;
using stress::parse_options;
using Arguments = std::vector<std::string_view>;

namespace {

Options read(const Arguments& arguments) {
  const auto parsed = parse_options(arguments);
  if (const auto* mistake = std::get_if<Mistake>(&parsed)) ADD_FAILURE() << mistake->message;
  const auto* options = std::get_if<Options>(&parsed);
  return options != nullptr ? *options : Options{};
}

std::string complaint_about(const Arguments& arguments) {
  const auto parsed = parse_options(arguments);
  const auto* mistake = std::get_if<Mistake>(&parsed);
  return mistake != nullptr ? mistake->message : "no complaint";
}

// Spec: stress.options
TEST(Options, without_arguments_there_is_a_run_with_kills) {
  const Options options = read({});
  EXPECT_GT(options.processes, 1U);
  EXPECT_GT(options.threads, 1U);
  EXPECT_GT(options.kills_per_second, 0);
  EXPECT_FALSE(options.seed);
  EXPECT_EQ(options.json, "");
}

// Spec: stress.options
TEST(Options, each_takes_the_next_argument_as_its_value) {
  const Options options =
      read({"--processes", "16", "--threads", "4", "--seconds", "1.5", "--kills-per-second", "0.25",
            "--accounts", "7", "--seed", "18446744073709551615", "--json", "result.json"});
  EXPECT_EQ(options.processes, 16U);
  EXPECT_EQ(options.threads, 4U);
  EXPECT_EQ(options.seconds, 1.5);
  EXPECT_EQ(options.kills_per_second, 0.25);
  EXPECT_EQ(options.accounts, 7U);
  EXPECT_EQ(options.seed, 18446744073709551615U);
  EXPECT_EQ(options.json, "result.json");
}

// Spec: stress.options
TEST(Options, the_load_may_be_run_on_several_locks_of_any_kind) {
  EXPECT_EQ(read({}).locks, 1U);
  EXPECT_EQ(read({"--locks", "64"}).locks, 64U);
  EXPECT_EQ(read({}).lock, stress::LockKind::heirlock);
  EXPECT_EQ(read({"--lock", "heirlock"}).lock, stress::LockKind::heirlock);
  EXPECT_EQ(read({"--lock", "pthread-robust"}).lock, stress::LockKind::pthread_robust);
  EXPECT_EQ(read({"--lock", "pthread"}).lock, stress::LockKind::pthread);
  EXPECT_EQ(read({"--lock", "sem"}).lock, stress::LockKind::sem);
}

// Spec: stress.faults
TEST(Options, without_a_word_the_only_fault_is_a_kill) {
  EXPECT_EQ(read({}).faults, stress::only(stress::Fault::kill));
}

// Spec: stress.faults
TEST(Options, faults_are_those_named_or_all) {
  EXPECT_EQ(stress::as_list(read({"--faults", "stop,kill,exec-thread,stop"}).faults),
            "kill,stop,exec-thread");
  EXPECT_EQ(stress::as_list(read({"--faults=signal"}).faults), "signal");
  EXPECT_TRUE(read({"--faults", "all"}).faults.all());
  EXPECT_EQ(read({"--faults", "stop", "--faults-per-second", "3.5"}).faults_per_second, 3.5);
}

// Spec: stress.options
TEST(Options, an_exec_of_a_second_thread_needs_a_second_thread) {
  const Arguments refused{"--faults", "kill,exec-thread", "--threads", "1"};
  EXPECT_EQ(complaint_about(refused),
            "heirlock-stress: --threads: exec-thread in --faults needs 2 or more threads");
  EXPECT_EQ(read({"--faults", "kill,exec", "--threads", "1"}).threads, 1U);
}

// Spec: stress.options
TEST(Options, a_rate_of_kills_needs_kills) {
  for (const Arguments& refused : {Arguments{"--faults", "stop", "--kills-per-second", "100"},
                                   Arguments{"--kills-per-second=100", "--faults", "stop"}})
    EXPECT_EQ(complaint_about(refused), "heirlock-stress: --kills-per-second: needs kill among --faults");
  EXPECT_EQ(read({"--faults", "stop", "--kills-per-second", "0"}).kills_per_second, 0);
  EXPECT_FALSE(read({"--faults", "stop"}).faults[index_of(stress::Fault::kill)]);
}

// Spec: stress.options
TEST(Options, a_rate_of_other_faults_needs_other_faults) {
  for (const Arguments& refused :
       {Arguments{"--faults-per-second", "5"}, Arguments{"--faults-per-second=5", "--faults", "kill"}})
    EXPECT_EQ(complaint_about(refused),
              "heirlock-stress: --faults-per-second: needs a fault other than kill in --faults");
  EXPECT_EQ(read({"--faults-per-second", "0"}).faults_per_second, 0);
  EXPECT_EQ(read({"--faults", "kill,stop", "--faults-per-second", "5"}).faults_per_second, 5);
}

// Spec: stress.seed
TEST(Options, the_headline_has_what_is_not_as_usual_and_the_seed) {
  EXPECT_EQ(headline(read({"--seed", "3", "--threads", "2"})), "heirlock-stress --seed 3\n");
  EXPECT_EQ(headline(read({"--seed",
                           "3",
                           "--processes",
                           "4",
                           "--threads",
                           "5",
                           "--seconds",
                           "1.5",
                           "--kills-per-second",
                           "6",
                           "--faults",
                           "kill,stop",
                           "--faults-per-second",
                           "7",
                           "--locks",
                           "8",
                           "--lock",
                           "sem",
                           "--accounts",
                           "9"})),
            "heirlock-stress --processes 4 --threads 5 --seconds 1.5 --kills-per-second 6 --faults kill,stop "
            "--faults-per-second 7 --locks 8 --lock sem --accounts 9 --seed 3\n");
}

// Spec: stress.options
TEST(Options, a_plan_is_asked_for_by_a_word_without_a_value) {
  EXPECT_FALSE(read({}).plan);
  const Options options = read({"--plan", "--seed", "3"});
  EXPECT_TRUE(options.plan);
  EXPECT_EQ(options.seed, 3U);
}

// Spec: stress.options
TEST(Options, each_takes_a_value_behind_an_equals_sign) {
  const Options options = read({"--processes=3", "--seconds=20", "--json=a=b"});
  EXPECT_EQ(options.processes, 3U);
  EXPECT_EQ(options.seconds, 20);
  EXPECT_EQ(options.json, "a=b");
}

// Spec: stress.options
TEST(Options, of_two_values_the_last_counts) {
  EXPECT_EQ(read({"--threads", "2", "--threads", "3"}).threads, 3U);
}

// Spec: stress.options
TEST(Options, the_limits_themselves_are_allowed) {
  EXPECT_EQ(read({"--processes", "1"}).processes, 1U);
  EXPECT_EQ(read({"--processes", "512"}).processes, 512U);
  EXPECT_EQ(read({"--threads", "64"}).threads, 64U);
  EXPECT_EQ(read({"--seconds", "0.1"}).seconds, 0.1);
  EXPECT_EQ(read({"--seconds", "86400"}).seconds, 86400);
  EXPECT_EQ(read({"--kills-per-second", "0"}).kills_per_second, 0);
  EXPECT_EQ(read({"--kills-per-second", "10000"}).kills_per_second, 10000);
  EXPECT_EQ(read({"--accounts", "2"}).accounts, 2U);
  EXPECT_EQ(read({"--accounts", "65536"}).accounts, 65536U);
  EXPECT_EQ(read({"--seed", "0"}).seed, 0U);
}

// Spec: stress.options
TEST(Options, help_is_told_from_a_run) {
  EXPECT_TRUE(std::holds_alternative<Help>(parse_options({"--threads", "3", "--help"})));
}

// Spec: stress.options
TEST(Options, a_bad_value_is_told_with_what_was_expected) {
  EXPECT_EQ(complaint_about({"--processes", "x"}),
            "heirlock-stress: --processes: 'x' is not a whole number from 1 to 512");
  EXPECT_EQ(complaint_about({"--seconds=0"}),
            "heirlock-stress: --seconds: '0' is not a number from 0.1 to 86400");
  EXPECT_EQ(complaint_about({"--seed"}),
            "heirlock-stress: --seed: the value is missing; give a whole number from 0 to "
            "18446744073709551615");
  EXPECT_EQ(complaint_about({"--json="}), "heirlock-stress: --json: '' is not a file name");
}

// Spec: stress.options
TEST(Options, an_unknown_option_is_told_with_those_there_are) {
  const std::string expected =
      "; choose from --processes, --threads, --seconds, --kills-per-second, --faults, "
      "--faults-per-second, --locks, --lock, --accounts, --seed, --json, --plan, --help";
  EXPECT_EQ(complaint_about({"--frob=3"}), "heirlock-stress: there is no option '--frob=3'" + expected);
  EXPECT_EQ(complaint_about({"stray"}), "heirlock-stress: there is no option 'stray'" + expected);
  EXPECT_EQ(complaint_about({""}), "heirlock-stress: there is no option ''" + expected);
}

class BadValue : public testing::TestWithParam<Arguments> {};
INSTANTIATE_TEST_SUITE_P(
    Of, BadValue,
    testing::Values(
        Arguments{"--processes", "0"}, Arguments{"--processes", "513"}, Arguments{"--processes", "-1"},
        Arguments{"--processes", "+1"}, Arguments{"--processes", " 1"}, Arguments{"--processes", "1 "},
        Arguments{"--processes", "1.0"}, Arguments{"--processes", "99999999999999999999"},
        Arguments{"--threads", "65"}, Arguments{"--accounts", "1"}, Arguments{"--accounts", "65537"},
        Arguments{"--seconds", "0.09"}, Arguments{"--seconds", "86400.1"}, Arguments{"--seconds", "nan"},
        Arguments{"--seconds", "inf"}, Arguments{"--seconds", "1e2"}, Arguments{"--seconds", "."},
        Arguments{"--seconds", "1.2.3"}, Arguments{"--seconds", "0x10"},
        Arguments{"--kills-per-second", "-0"}, Arguments{"--kills-per-second", "10001"},
        Arguments{"--kills-per-second", "1,5"}, Arguments{"--seed", "18446744073709551616"},
        Arguments{"--faults", ""}, Arguments{"--faults", ","}, Arguments{"--faults", "kill,"},
        Arguments{"--faults", "kill, stop"}, Arguments{"--faults", "kill,all"}, Arguments{"--faults", "KILL"},
        Arguments{"--faults-per-second", "1001"}, Arguments{"--locks", "0"}, Arguments{"--locks", "65"},
        Arguments{"--lock", "robust"}, Arguments{"--lock", ""}, Arguments{"--seed", "-1"},
        Arguments{"--processes", ""}, Arguments{"--processes", "--threads"}));

// Spec: stress.options
TEST_P(BadValue, is_refused) {
  EXPECT_EQ(complaint_about(GetParam()).find("heirlock-stress: " + std::string(GetParam()[0]) + ": '"), 0U)
      << complaint_about(GetParam());
}

// Spec: stress.options
TEST(Options, whatever_was_written_the_complaint_is_one_short_line) {
  const std::string long_one(100000, 'x');
  for (const std::string& value : {std::string("two\nlines\x1b[2J"), long_one, std::string(1, '\0')}) {
    for (const Arguments& arguments : {Arguments{"--processes", value}, Arguments{value}}) {
      const std::string message = complaint_about(arguments);
      EXPECT_NE(message, "no complaint");
      EXPECT_LT(message.size(), 300U);
      for (const char character : message) EXPECT_TRUE(character >= ' ' && character <= '~');
    }
  }
}

// Spec: stress.options
TEST(Options, the_help_names_every_option) {
  for (const char* option :
       {"--processes", "--threads", "--seconds", "--kills-per-second", "--faults ", "--faults-per-second",
        "--locks", "--lock ", "--accounts", "--seed", "--json", "--plan", "--help"})
    EXPECT_NE(stress::help_text().find(option), std::string::npos) << option;
}

// Spec: stress.options
TEST(Options, the_help_names_every_fault_and_every_lock) {
  for (const std::string_view name : stress::fault_names)
    EXPECT_NE(stress::help_text().find("  " + std::string(name)), std::string::npos) << name;
  for (const std::string_view name : stress::lock_names)
    EXPECT_NE(stress::help_text().find(name), std::string::npos) << name;
}

}  // namespace
