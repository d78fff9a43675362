// Names of segments, and the command line of heirlock-stress: what is documented is accepted, all else is
// refused in one line that a terminal can show.
//
// Input: one byte that chooses what the rest is. Arguments are separated by the byte 0xff, which is in no
// UTF-8 text, so that every other byte may stand in them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include "heirlock/lockable.hpp"
#include "heirlock/shared.hpp"
#include "stress/options.hpp"
#include "support/input.hpp"

namespace {

using fuzz::require;
using stress::Help;
using stress::Mistake;
using stress::Options;
using stress::parse_options;

constexpr std::string_view digits = "0123456789";

bool is_printable_line(std::string_view text) {
  for (const char character : text)
    if (character < ' ' || character > '~') return false;
  return !text.empty();
}

// --- Names ---

class Named : public heirlock::Lockable {
 public:
  explicit Named(std::string_view name) : Lockable(name) {}
};

bool is_documented_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
             std::string_view::npos;
}

// Nothing in /dev/shm holds one of these: a segment that happens to have the name is refused.
struct InNoSegment {
  std::uint8_t bytes[3];
};

template <class Operation>
bool is_bad_name_to(Operation&& operation) {
  try {
    operation();
  } catch (const std::invalid_argument& error) {
    require(is_printable_line(error.what()), "what refuses a name is a line that can be printed");
    require(std::string_view(error.what()).find("use 1 to 200 letters, digits") != std::string_view::npos,
            "what refuses a name says which are good");
    return true;
  } catch (const std::system_error& error) {
    require(error.code() == std::errc::no_such_file_or_directory ||
                error.code() == heirlock::errc::layout_mismatch ||
                error.code() == heirlock::errc::not_trusted || error.code() == std::errc::permission_denied,
            "a good name that is opened leads to a segment, or to none");
    return false;
  }
  return false;
}

// Spec: shared.names
void judge_name(std::string_view name) {
  using Segment = heirlock::Shared<InNoSegment>;
  const bool is_bad = is_bad_name_to([&] { Segment::open(name); });
  require(is_bad != is_documented_name(name), "a name is refused exactly if it is not as documented");
  if (!is_bad) return;  // what follows would make and remove files
  require(is_bad_name_to([&] { Segment::create(name); }), "create refuses a bad name");
  require(is_bad_name_to([&] { Segment::open_or_create(name); }), "open_or_create refuses a bad name");
  require(is_bad_name_to([&] { Segment::remove(name); }), "remove refuses a bad name");
  require(is_bad_name_to([&] { Named object(name); }), "Lockable refuses a bad name");
}

// --- Options ---

using Result = std::variant<Options, Help, Mistake>;

void require_sound(const Options& is) {
  require(is.processes >= 1 && is.processes <= 512, "processes are 1 to 512");
  require(is.threads >= 1 && is.threads <= 64, "threads are 1 to 64");
  require(is.seconds >= 0.1 && is.seconds <= 86400, "seconds are 0.1 to 86400");
  require(is.kills_per_second >= 0 && is.kills_per_second <= 10000, "kills per second are 0 to 10000");
  require(is.faults_per_second >= 0 && is.faults_per_second <= 1000, "other faults per second are 0 to 1000");
  require(is.locks >= 1 && is.locks <= 64, "locks are 1 to 64");
  require(is.lock <= stress::LockKind::sem, "a lock is one of those there are");
  require(is.accounts >= 2 && is.accounts <= 65536, "accounts are 2 to 65536");
  require(is.json.find('\0') == std::string::npos, "the name of a file has no zero in it");
}

bool equal(const Options& one, const Options& two) {
  return one.processes == two.processes && one.threads == two.threads && !(one.seconds < two.seconds) &&
         !(one.seconds > two.seconds) && !(one.kills_per_second < two.kills_per_second) &&
         !(one.kills_per_second > two.kills_per_second) && !(one.faults_per_second < two.faults_per_second) &&
         !(one.faults_per_second > two.faults_per_second) && one.faults == two.faults &&
         one.locks == two.locks && one.lock == two.lock && one.plan == two.plan &&
         one.accounts == two.accounts && one.seed == two.seed && one.json == two.json;
}

std::vector<std::string_view> arguments_in(std::string_view text) {
  std::vector<std::string_view> arguments;
  while (!text.empty()) {
    const std::size_t end = text.find('\xff');
    arguments.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return arguments;
}

// Spec: stress.options
void judge_arguments(std::vector<std::string_view> arguments) {
  const Result result = parse_options(arguments);
  if (const auto* mistake = std::get_if<Mistake>(&result)) {
    require(is_printable_line(mistake->message), "a mistake is told in a line that can be printed");
    return;
  }
  if (std::holds_alternative<Help>(result)) {
    bool asked = false;
    for (const std::string_view argument : arguments) asked = asked || argument == "--help";
    require(asked, "help is given to who asks for it");
    return;
  }
  const Options& options = std::get<Options>(result);
  require_sound(options);
  const std::size_t count = arguments.size();
  for (std::size_t i = 0; i < count; ++i) arguments.push_back(std::string_view(arguments[i]));
  const Result twice = parse_options(arguments);
  require(std::holds_alternative<Options>(twice) && equal(std::get<Options>(twice), options),
          "options that are given twice mean the same");
  arguments.push_back("--threads=3");
  const Result changed = parse_options(arguments);
  Options expected = options;
  expected.threads = 3;
  require(std::holds_alternative<Options>(changed) && equal(std::get<Options>(changed), expected),
          "of an option that is given again the last one counts, and no other changes");
}

// --- One value ---

bool is_whole(std::string_view text, std::uint64_t least, std::uint64_t most) {
  if (text.empty() || text.find_first_not_of(digits) != std::string_view::npos) return false;
  std::uint64_t number = 0;
  for (const char character : text) {
    const auto digit = static_cast<std::uint64_t>(character - '0');
    if (number > (most - digit) / 10) return false;
    number = number * 10 + digit;
  }
  return number >= least;
}

// Digits with at most one point, at most 30 characters.
bool is_decimal(std::string_view text, double least, double most) {
  const std::size_t point = text.find('.');
  const std::string before(text.substr(0, point));
  const std::string after(point == std::string_view::npos ? "" : text.substr(point + 1));
  if (text.size() > 30 || (before + after).empty()) return false;
  if ((before + after).find_first_not_of(digits) != std::string::npos) return false;
  const double number = std::stod("0" + before + "." + after + "0");
  return number >= least && number <= most;
}

template <class T>
using Field = T Options::*;

template <class T>
T set_by(const std::string& argument, Field<T> field, bool expected) {
  // With these any rate is meaningful; the argument may choose others.
  constexpr std::string_view faults = "--faults=kill,stop";
  const Result joined = parse_options({faults, argument});
  require(std::holds_alternative<Options>(joined) == expected,
          "a value is accepted exactly if it is as documented");
  const std::size_t equals = argument.find('=');
  const Result split = parse_options(
      {faults, std::string_view(argument).substr(0, equals), std::string_view(argument).substr(equals + 1)});
  require(std::holds_alternative<Options>(split) == expected, "--name VALUE is as --name=VALUE");
  if (!expected) return {};
  require(equal(std::get<Options>(joined), std::get<Options>(split)), "--name VALUE means --name=VALUE");
  return std::get<Options>(joined).*field;
}

void judge_whole(const std::string& name, std::string_view text, Field<std::uint32_t> field,
                 std::uint64_t least, std::uint64_t most) {
  const bool expected = is_whole(text, least, most);
  const std::uint32_t value = set_by(name + std::string(text), field, expected);
  if (expected) require(value == std::stoul(std::string(text)), "a number is what it says");
}

void judge_decimal(const std::string& name, std::string_view text, Field<double> field, double least,
                   double most) {
  const bool expected = is_decimal(text, least, most);
  const double value = set_by(name + std::string(text), field, expected);
  if (expected)
    require(std::fabs(value - std::stod(std::string(text))) < 1e-9, "a decimal number is what it says");
}

void judge_seed(std::string_view text) {
  const bool is_seed = is_whole(text, 0, UINT64_MAX);
  const auto seed = set_by("--seed=" + std::string(text), &Options::seed, is_seed);
  if (is_seed) require(seed == std::stoull(std::string(text)), "a seed is what it says");
}

void judge_file(std::string_view text) {
  const bool is_file = !text.empty() && text.find('\0') == std::string_view::npos;
  const std::string file = set_by("--json=" + std::string(text), &Options::json, is_file);
  require(file == (is_file ? text : ""), "the name of a file is what was given");
}

bool is_one_of(std::string_view text, const std::vector<std::string_view>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

void judge_lock(std::string_view text) {
  const bool is_lock = is_one_of(text, {"heirlock", "pthread-robust", "pthread", "sem"});
  const auto lock = set_by("--lock=" + std::string(text), &Options::lock, is_lock);
  require(!is_lock || stress::lock_names[static_cast<std::size_t>(lock)] == text,
          "a lock is the one that was named");
}

// Faults that need a second thread are accepted, as there are two if nothing else is said.
void judge_faults(std::string_view text) {
  bool are_faults = text != "all";
  std::size_t named = 0;
  for (std::string_view left = text; are_faults; ++named) {
    const std::size_t comma = left.find(',');
    are_faults = is_one_of(left.substr(0, comma),
                           {"kill", "stop", "exit", "fork", "exec", "exec-thread", "timeout", "signal"});
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  are_faults = are_faults || text == "all";
  const auto faults = set_by("--faults=" + std::string(text), &Options::faults, are_faults);
  require(!are_faults || (text == "all" ? faults.all() : faults.any() && faults.count() <= named + 1),
          "faults are those that were named");
}

// Spec: stress.options
void judge_value(std::uint8_t option, std::string_view text) {
  switch (option % 11) {
    case 0:
      return judge_whole("--processes=", text, &Options::processes, 1, 512);
    case 1:
      return judge_whole("--threads=", text, &Options::threads, 1, 64);
    case 2:
      return judge_whole("--accounts=", text, &Options::accounts, 2, 65536);
    case 3:
      return judge_decimal("--seconds=", text, &Options::seconds, 0.1, 86400);
    case 4:
      return judge_decimal("--kills-per-second=", text, &Options::kills_per_second, 0, 10000);
    case 5:
      return judge_seed(text);
    case 7:
      return judge_decimal("--faults-per-second=", text, &Options::faults_per_second, 0, 1000);
    case 8:
      return judge_whole("--locks=", text, &Options::locks, 1, 64);
    case 9:
      return judge_lock(text);
    case 10:
      return judge_faults(text);
    default:
      return judge_file(text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.take() % 4) {
    case 0:
      judge_name(input.rest());
      break;
    case 1:
      judge_arguments(arguments_in(input.rest()));
      break;
    case 2: {
      const auto option = input.take();
      judge_value(option, input.rest());
      break;
    }
    default: {  // of some length up to 255, which chance alone would hardly come to
      std::string name(input.take(), 'x');
      const std::string_view end = input.rest().substr(0, name.size());
      name.replace(name.size() - end.size(), end.size(), end);
      judge_name(name);
    }
  }
  return 0;
}
