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

// How one option is read. `set` returns false if the text is not `what`.
struct Rule {
  std::string_view name;
  std::string what;
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
      {"--faults", "'all' or a list of " + as_list(Faults().set()),
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
      {"--json", "a file name", [](Options& o, std::string_view text) { return read_name(text, o.json); }},
  };
  return all;
}

// The user's text, cut and made printable.
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
  return {std::string(program) + "there is no option " + quoted(argument) + "; choose from " + names +
          "--plan, --help"};
}

Mistake about(const Rule& rule, const std::string& problem) {
  return {std::string(program) + std::string(rule.name) + ": " + problem + rule.what};
}

const Rule* rule_named(std::string_view name) {
  for (const Rule& rule : rules())
    if (rule.name == name) return &rule;
  return nullptr;
}

}  // namespace

std::variant<Options, Help, Mistake> parse_options(const std::vector<std::string_view>& arguments) {
  Options options;
  bool has_kill_rate = false, has_fault_rate = false;
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
      return about(*rule, "the value is missing; give ");
    if (!rule->set(options, value)) return about(*rule, quoted(value) + " is not ");
    has_kill_rate |= rule->name == "--kills-per-second";
    has_fault_rate |= rule->name == "--faults-per-second";
  }
  if (has_kill_rate && options.kills_per_second > 0 && !options.faults[index_of(Fault::kill)])
    return Mistake{std::string(program) + "--kills-per-second: needs kill among --faults"};
  if (has_fault_rate && options.faults_per_second > 0 && (options.faults & ~only(Fault::kill)).none())
    return Mistake{std::string(program) + "--faults-per-second: needs a fault other than kill in --faults"};
  if (options.faults[index_of(Fault::exec_thread)] && options.threads == 1)
    return Mistake{std::string(program) + "--threads: exec-thread in --faults needs 2 or more threads"};
  return options;
}

std::string help_text() {
  return R"(heirlock-stress: many processes use one ledger under one lock, and are killed while they do.

  --processes N         processes at a time (1 to 512; 8)
  --threads N           threads in each process (1 to 64; 2)
  --seconds S           duration (0.1 to 86400; 10)
  --faults LIST         'all', or a list of these with commas between them (kill):
                          kill         SIGKILL
                          stop         SIGSTOP, and SIGCONT up to 100 ms later
                          exit         a thread ends while it holds locks; the first thread ends its process
                          fork         a thread forks while it holds locks; the child tries to release them
                          exec         the first thread of a process calls exec while it holds locks
                          exec-thread  another thread does
                          timeout      a thread waits until its timeout
                          signal       a thread gets a signal while it waits
  --kills-per-second K  processes killed and replaced, if kill is among the faults (0 to 10000; 50)
  --faults-per-second F other faults, of all kinds together (0 to 1000; 20)
  --locks N             locks, each with its own ledger (1 to 64; 1). If there are several, a thread holds a
                        random subset of them, which it acquires in order
  --lock NAME           the lock to test (heirlock). For comparison: glibc's mutexes pthread-robust and pthread,
                        and its semaphore sem
  --accounts N          accounts in each ledger (2 to 65536; 100)
  --seed N              chooses faults, victims, moments and transfers (default: random, and printed)
  --plan                only print the faults of a run with these options
  --json FILE           also write the result to FILE
  --help                print this

Each thread moves money between accounts. It acquires the lock in every way there is: by waiting, trying, waiting
with a timeout, and from one locked method in another. A thread that inherits the lock from a dead owner finishes
or undoes the transfer that was under way.

The result:
  waits under ...     waits shorter than this and longer than the line before; each '#' is a doubling
  waits               all waits: attempts to acquire a lock, until success or timeout. The wait of a thread that
                      was killed meanwhile does not count
  operations          transfers and audits done
  kills               processes that died of SIGKILL. The number planned is printed if it is larger: then the
                      system was too slow, or no process was left to kill
  fault: ...          how often each other fault took place. Some are orders to a thread. It carries them out
                      when it next holds a lock or waits for one, if it lives until then
  inherited           how often a lock was inherited from a dead owner
  recoveries          how often the heir repaired the ledger and went on; the other heirs were killed meanwhile.
                      The transfer was finished, or undone, or none was under way
  timed out           how often a thread got no lock before its timeout
  longest wait        of any thread for a lock, including waits that never ended
    with the lock free  the longest wait during which no thread held or acquired the lock
  money lost          must be 0: the largest difference that any audit saw, including the last one
  stranded waiters    must be 0: threads that waited over 2 s while the lock was free; see below
  wrong owners seen   must be 0: how often a thread held the lock together with another thread, saw a wrong owner
                      or depth, or still held a lock that it had released; or a forked child counted as the owner

A thread is stranded if it is alive and not stopped, and has waited over 2 s while the lock was free. (Over 3 s
with exec-thread: the kernel does not report this death, and the waiters ask for the owner once a second.) The
lock counts as free while no thread acquires it, and no live thread that knows it is the owner holds it.
To find stranded threads behind a lock that is always in use, the supervisor calls a roll many times a second and
at the end: nobody starts anything new, and nobody is killed, until every waiting thread has had the lock.

A run ends early if threads are stranded behind an owner that will never release: nobody can get that lock.

Exit status: 0 if all that must be 0 is 0, and no worker failed; otherwise 1; 2 for a bad option, or if the system
refuses what the run needs. Ctrl-C (SIGINT) or SIGTERM ends the run early: it prints the result so far with the
word INTERRUPTED, and the status is that of the result so far. A second Ctrl-C kills the run at once.
)";
}

}  // namespace stress
