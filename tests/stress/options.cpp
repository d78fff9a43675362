#include "stress/options.hpp"

#include <charconv>
#include <limits>
#include <locale>
#include <sstream>

namespace stress {
namespace {

constexpr std::string_view program = "heirlock-stress: ";

// How one option is read. `set` returns false when the text is not what `expected` says.
struct Rule {
  std::string_view name;
  std::string expected;
  bool (*set)(Options& options, std::string_view text);
};

template <class Whole>
bool read_whole(std::string_view text, Whole least, Whole most, Whole& result) {
  Whole number{};
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stopped != end || number < least || number > most) return false;
  result = number;
  return true;
}

// Digits with at most one point: neither signs, exponents nor the word "nan".
bool is_decimal(std::string_view text) {
  constexpr std::size_t longest = 30;
  if (text.size() > longest || text.find_first_of("0123456789") == std::string_view::npos) return false;
  if (text.find_first_not_of("0123456789.") != std::string_view::npos) return false;
  return text.find('.') == text.rfind('.');
}

bool read_decimal(std::string_view text, double least, double most, double& result) {
  if (!is_decimal(text)) return false;
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double number = 0;
  if (!(stream >> number) || number < least || number > most) return false;
  result = number;
  return true;
}

bool read_name(std::string_view text, std::string& result) {
  result = text;
  return !text.empty() && text.find('\0') == std::string_view::npos;
}

constexpr std::uint32_t least_accounts = 2;
constexpr std::uint64_t most_seed = std::numeric_limits<std::uint64_t>::max();
constexpr double least_seconds = 0.1;
constexpr double most_seconds = 86400;
constexpr double most_kills = 10000;

std::string whole_number(std::uint64_t least, std::uint64_t most) {
  return "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::string decimal_number(double least, double most) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << "a number from " << least << " to " << most;
  return text.str();
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = {
      {"--processes", whole_number(1, most_processes),
       [](Options& o, std::string_view text) { return read_whole(text, 1U, most_processes, o.processes); }},
      {"--threads", whole_number(1, most_threads),
       [](Options& o, std::string_view text) { return read_whole(text, 1U, most_threads, o.threads); }},
      {"--seconds", decimal_number(least_seconds, most_seconds),
       [](Options& o, std::string_view text) {
         return read_decimal(text, least_seconds, most_seconds, o.seconds);
       }},
      {"--kills-per-second", decimal_number(0, most_kills),
       [](Options& o, std::string_view text) {
         return read_decimal(text, 0, most_kills, o.kills_per_second);
       }},
      {"--accounts", whole_number(least_accounts, most_accounts),
       [](Options& o, std::string_view text) {
         return read_whole(text, least_accounts, most_accounts, o.accounts);
       }},
      {"--seed", whole_number(0, most_seed),
       [](Options& o, std::string_view text) {
         return read_whole(text, std::uint64_t{0}, most_seed, o.seed.emplace());
       }},
      {"--json", "the name of a file",
       [](Options& o, std::string_view text) { return read_name(text, o.json); }},
  };
  return all;
}

// What the user wrote, fit for one line on a terminal.
std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string result = "'";
  for (const char character : text.substr(0, longest))
    result += character >= ' ' && character <= '~' ? character : '?';
  return result + (text.size() > longest ? "...'" : "'");
}

Mistake unknown(std::string_view argument) {
  std::string names;
  for (const Rule& rule : rules()) names += std::string(rule.name) + ", ";
  return {std::string(program) + "found " + quoted(argument) + ", expected one of " + names + "--help"};
}

Mistake bad_value(const Rule& rule, const std::string& found) {
  return {std::string(program) + std::string(rule.name) + ": found " + found + ", expected " + rule.expected};
}

const Rule* rule_named(std::string_view name) {
  for (const Rule& rule : rules())
    if (rule.name == name) return &rule;
  return nullptr;
}

}  // namespace

std::variant<Options, Help, Mistake> parse_options(const std::vector<std::string_view>& arguments) {
  Options options;
  for (auto argument = arguments.begin(); argument != arguments.end(); ++argument) {
    if (*argument == "--help") return Help{};
    const std::size_t equals = argument->find('=');
    const Rule* const rule = rule_named(argument->substr(0, equals));
    if (rule == nullptr) return unknown(*argument);
    std::string_view value;
    if (equals != std::string_view::npos)
      value = argument->substr(equals + 1);
    else if (++argument != arguments.end())
      value = *argument;
    else
      return bad_value(*rule, "no value");
    if (!rule->set(options, value)) return bad_value(*rule, quoted(value));
  }
  return options;
}

std::string help_text() {
  return R"(heirlock-stress: many processes work on one ledger under one lock, and are killed while they do.

  --processes N         how many processes work at a time (1 to 512; 8)
  --threads N           threads in each (1 to 64; 2)
  --seconds S           how long (0.1 to 86400; 10)
  --kills-per-second K  how many of the processes are killed with SIGKILL and replaced (0 to 10000; 50)
  --accounts N          accounts in the ledger (2 to 65536; 100)
  --seed N              chooses victims, moments and transfers (default: a random one, which is printed)
  --json FILE           writes the result to FILE as well
  --help                shows this

Each thread moves money between accounts, taking the lock in every way there is: waiting, trying, waiting for
a limited time, and from one locked method in another. Whoever inherits the lock from a killed owner finishes
or undoes the transfer that was under way.

The result:
  operations          transfers and audits done
  kills               processes that died of SIGKILL
  inherited           times the lock was taken over from a dead owner
  recoveries          of these, how many mended the ledger and went on; the others were killed while at it
  timed out           times a thread got no lock in its time
  longest wait        for the lock, of any one thread
    with the lock free  the longest that anybody waited while nobody held or took the lock
  money lost          must be 0: the largest difference any audit found, the last one included
  stranded waiters    must be 0: threads, alive and not stopped, that waited over 2 s while the lock was free.
                      Free means that nobody alive held it, each time the supervisor looked, and that nobody
                      took it in between. So that this shows in a lock which is always in use, the supervisor
                      calls a roll many times a second and at the end: nobody begins anything new, and
                      nobody is killed, until all who wait have had the lock.
  wrong owners seen   must be 0: times that a thread which held the lock found another one inside, found the
                      lock's owner or depth not to be its own, or still held what it had released

Exit status: 0 when all that must be 0 is, and no worker failed; 1 when not; 2 for a bad option, or when the
system refuses what the run needs. Ctrl-C ends the run early, with its result; a second one kills at once.
)";
}

}  // namespace stress
