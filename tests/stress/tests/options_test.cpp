#include "stress/options.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stress/report.hpp"

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

// Also that each option sets what its name says: the headline is written from the options as they were read.
// Spec: stress.seed, stress.options
TEST(Options, the_headline_runs_the_same_again) {
  EXPECT_EQ(headline(read({"--seed", "3", "--threads", "2"})), "heirlock-stress --seed 3\n");
  const std::string all =
      "--processes=4 --threads=5 --seconds=1.5 --kills-per-second=6 --faults=kill,stop "
      "--faults-per-second=7 --locks=8 --lock=sem --accounts=9 --seed=18446744073709551615";
  Arguments arguments;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1)
    arguments.push_back(std::string_view(all).substr(begin, (end = all.find(' ', begin)) - begin));
  std::string headline_of_all = "heirlock-stress " + all + "\n";
  std::replace(headline_of_all.begin(), headline_of_all.end(), '=', ' ');
  EXPECT_EQ(headline(read(arguments)), headline_of_all);
}

// The run would not be the one that was asked for.
class BadValue : public testing::TestWithParam<Arguments> {};
INSTANTIATE_TEST_SUITE_P(
    Of, BadValue,
    testing::Values(Arguments{"--processes", "0"}, Arguments{"--processes", "513"},
                    Arguments{"--processes", "1.0"}, Arguments{"--processes", "99999999999999999999"},
                    Arguments{"--processes"}, Arguments{"--seconds", "nan"}, Arguments{"--seconds", "1e2"},
                    Arguments{"--kills-per-second", "1,5"}, Arguments{"--seed", "18446744073709551616"},
                    Arguments{"--faults", "kill,"}, Arguments{"--faults", "KILL"},
                    Arguments{"--lock", "robust"}, Arguments{"--threads", "1", "--faults", "exec-thread"},
                    Arguments{"--kills-per-second", "100", "--faults", "stop"},
                    Arguments{"--faults-per-second", "5"}));

// Spec: stress.options
TEST_P(BadValue, is_refused) {
  EXPECT_EQ(complaint_about(GetParam()).find("heirlock-stress: " + std::string(GetParam()[0]) + ": "), 0U)
      << complaint_about(GetParam());
}

}  // namespace
