#include "stress/options.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
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

bool read_lock(std::string_view text, LockKind& result) {
  const auto* const found = std::find(std::begin(lock_names), std::end(lock_names), text);
  if (found == std::end(lock_names)) return false;
  result = static_cast<LockKind>(found - std::begin(lock_names));
  return true;
}

// Names with commas between them, or "all".
bool read_faults(std::string_view text, Faults& result) {
  if (text == "all") {
    result.set();
    return true;
  }
  Faults faults;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view name = text.substr(0, comma);
    const auto* const found = std::find(std::begin(fault_names), std::end(fault_names), name);
    if (found == std::end(fault_names)) return false;
    faults.set(static_cast<std::size_t>(found - std::begin(fault_names)));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  result = faults;
  return true;
}

constexpr std::uint32_t least_accounts = 2;
constexpr std::uint64_t most_seed = std::numeric_limits<std::uint64_t>::max();
constexpr double least_seconds = 0.1;
constexpr double most_seconds = 86400;
constexpr double most_kills = 10000;
constexpr double most_faults = 1000;

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
      {"--faults", "'all', or some of " + as_list(Faults().set()) + " with commas between them",
       [](Options& o, std::string_view text) { return read_faults(text, o.faults); }},
      {"--faults-per-second", decimal_number(0, most_faults),
       [](Options& o, std::string_view text) {
         return read_decimal(text, 0, most_faults, o.faults_per_second);
       }},
      {"--locks", whole_number(1, most_locks),
       [](Options& o, std::string_view text) { return read_whole(text, 1U, most_locks, o.locks); }},
      {"--lock", "heirlock, pthread-robust, pthread or sem",
       [](Options& o, std::string_view text) { return read_lock(text, o.lock); }},
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
  return {std::string(program) + "found " + quoted(argument) + ", expected one of " + names +
          "--plan, --help"};
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
  std::string_view kills_per_second;  // as they were written
  std::string_view faults_per_second;
  for (auto argument = arguments.begin(); argument != arguments.end(); ++argument) {
    if (*argument == "--help") return Help{};
    if (*argument == "--plan") {
      options.plan = true;
      continue;
    }
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
    if (rule->name == "--kills-per-second") kills_per_second = value;
    if (rule->name == "--faults-per-second") faults_per_second = value;
  }
  if (!kills_per_second.empty() && options.kills_per_second > 0 && !options.faults[index_of(Fault::kill)])
    return Mistake{std::string(program) + "--kills-per-second: found " + quoted(kills_per_second) +
                   ", expected 'kill' among --faults"};
  if (!faults_per_second.empty() && options.faults_per_second > 0 &&
      (options.faults & ~only(Fault::kill)).none())
    return Mistake{std::string(program) + "--faults-per-second: found " + quoted(faults_per_second) +
                   ", expected another than 'kill' among --faults"};
  if (options.faults[index_of(Fault::exec_thread)] && options.threads == 1)
    return Mistake{std::string(program) +
                   "--threads: found '1', expected 2 or more, as --faults has exec-thread"};
  return options;
}

std::string help_text() {
  return R"(heirlock-stress: many processes work on one ledger under one lock, and are killed while they do.

  --processes N         how many processes work at a time (1 to 512; 8)
  --threads N           threads in each (1 to 64; 2)
  --seconds S           how long (0.1 to 86400; 10)
  --faults LIST         what happens to them, instead of the kills alone: 'all', or some of these with commas
                        between them (kill)
                          kill         SIGKILL
                          stop         SIGSTOP, and SIGCONT up to 100 ms later
                          exit         a thread ends while it holds locks; the first ends its whole process
                          fork         a thread forks while it holds locks; the child tries to release them
                          exec         the first thread of a process calls exec while it holds locks
                          exec-thread  another thread does
                          timeout      a thread waits until its time is over
                          signal       a thread gets a signal while it waits
  --kills-per-second K  how many of the processes are killed and replaced, if kill is among the faults (0 to
                        10000; 50)
  --faults-per-second F how many of the other faults there are, of all kinds together (0 to 1000; 20)
  --locks N             locks, each with a ledger of its own (1 to 64; 1). With more than one, a thread holds a
                        random subset of them at a time, and takes them in order
  --lock NAME           the lock that all this is done to (heirlock). For comparison there are glibc's mutex, as
                        pthread-robust and pthread, and its semaphore, as sem
  --accounts N          accounts in each ledger (2 to 65536; 100)
  --seed N              chooses faults, victims, moments and transfers (default: a random one, which is printed)
  --plan                only shows the faults that a run with these options meets with
  --json FILE           writes the result to FILE as well
  --help                shows this

Each thread moves money between accounts, taking the lock in every way there is: waiting, trying, waiting for
a limited time, and from one locked method in another. Whoever inherits the lock from an owner that died
finishes or undoes the transfer that was under way.

The result:
  waits under ...     how many waits were that long, and not as short as in the line before; a '#' stands for
                      each doubling
  waits               all of these together: attempts at a lock, each until it was had or given up. Of a thread
                      that was killed as it waited, that wait is not counted
  operations          transfers and audits done
  kills               processes that died of SIGKILL. Where there were fewer than planned until the end of the
                      run, it says how many were planned: the system was too slow, or nobody was left to kill
  fault: ...          how often the others took place. Some are orders to a thread, which carries them out when it
                      next has a lock, or waits for one, if it lives to do so
  inherited           times a lock was taken over from a dead owner
  recoveries          of these, how many mended the ledger and went on; the others were killed while at it. It
                      was a transfer to finish, or one to undo, or none was under way
  timed out           times a thread got no lock in its time
  longest wait        for a lock, of any one thread, waits that never ended included
    with the lock free  the longest that anybody waited while nobody held or took the lock
  money lost          must be 0: the largest difference any audit found, the last one included
  stranded waiters    must be 0: threads that waited over 2 s while the lock was free; see below
  wrong owners seen   must be 0: times that a thread which held the lock found another one inside, found the
                      lock's owner or depth not to be its own, or still held what it had released, and that a
                      forked child passed for the owner

Stranded is a thread, alive and not stopped, that waited over 2 s while the lock was free (3 s with exec-thread,
of which the kernel says nothing: the waiters look after such an owner themselves, once a second). Free means
that nobody held it who was alive and knew it, each time the supervisor looked, and that nobody took it in
between. So that this shows in a lock which is always in use, the supervisor calls a roll many times a second
and at the end: nobody begins anything new, and nobody is killed, until all who wait have had the lock.

A run ends early when somebody is stranded behind an owner that will not come: nobody will get that lock.

Exit status: 0 when all that must be 0 is, and no worker failed; 1 when not; 2 for a bad option, or when the
system refuses what the run needs. Ctrl-C (SIGINT) or SIGTERM ends the run early, with its result and the word
INTERRUPTED, and the status says what was found until then: 0 when all that must be 0 was. A second one kills
at once.
)";
}

}  // namespace stress
