#include "stress/options.hpp"

#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>

namespace stress {
namespace {

constexpr const char* help = R"(Usage: heirlock-stress [OPTION]...

Many processes share a ledger under a lock, and are killed while they use it. The run fails if money is lost, a
thread waits for ever, or two threads own the lock at once.

  --processes N          processes at a time: 1 to 512 (default 8)
  --threads N            threads in each process: 1 to 64 (default 2); at most 4096 in all
  --seconds S            duration: 0.1 to 86400 (default 10)
  --faults LIST          'all', or some of these with commas between them (default kill):
                           kill         SIGKILL to a process
                           stop         SIGSTOP to a process, and SIGCONT up to 100 ms later
                           exit         a thread ends while it holds locks; a first thread ends its process
                           fork         a thread forks while it holds locks; the child tries to release them
                           exec         the first thread of a process calls exec while it holds locks
                           exec-thread  another thread of a process does so
                           timeout      a thread waits until its timeout
                           signal       a thread handles a signal while it waits
  --kills-per-second K   processes killed and replaced: 0 to 10000 (default 50)
  --faults-per-second F  other faults, of all kinds together: 0 to 1000 (default 20)
  --locks N              locks: 1 to 64 (default 1), each with its own ledger. With several, a thread often
                         holds a random subset of the locks, which it acquires in order
  --lock NAME            heirlock (default), or for comparison glibc's pthread-robust, pthread or sem
  --accounts N           accounts in each ledger: 2 to 65536 (default 100)
  --seed N               repeats the faults of the run with this seed (default: random, and printed)
  --help                 print this text

Each thread transfers money between accounts. It waits for the lock with or without a timeout, or only tries,
and acquires the lock again while it holds it. A thread that inherits the lock from a dead owner finishes or
undoes the transfer that was under way.

The report has one line for each of these:
  waits               attempts to acquire a lock, until success or timeout, and how long they took. An attempt
                      does not count if the thread was killed meanwhile
  longest wait        the longest wait for a lock, including waits that never ended
    with lock free    the longest wait during which no thread held or acquired the lock
  timed out           how often a thread reached its timeout
  operations          transfers and audits done
  kills               processes that died of SIGKILL. If fewer died than planned, the number planned is printed,
                      too: the machine was too slow, or no process was left to kill
  fault: ...          how often this fault took place. Some faults are orders to a thread, which carries them out
                      at its next operation, if it lives until then
  inherited           how often a thread (the heir) acquired the lock of a dead owner
  recoveries          how often the heir repaired the ledger; the other heirs were killed meanwhile
  money lost          must be 0: the largest difference that any audit saw
  stranded waiters    must be 0: threads that waited for over 2 s although the lock was free
  locks never free    must be 0: locks that could not be acquired after all threads had ended
  wrong owners        must be 0: how often a thread held the lock together with another thread, saw a wrong owner
                      or depth, or still held a lock that it had released; or a forked child counted as owner
  failed workers      must be 0: processes that ended by themselves

A waiter counts as stranded if it is alive and not stopped. (With exec-thread it must have waited over 3 s: the
kernel does not report such a death, and waiters check the owner once a second.) The lock counts as free while no
thread acquires it, and no live thread that knows it is the owner holds it.
A lock in constant use would hide stranded waiters. So, many times a second and at the end, there is a roll call:
no operation begins, and nobody is killed, until every waiting thread has had the lock.

The run ends early if threads are stranded behind an owner that will never release the lock.

Exit status: 0 if all that must be 0 is 0, otherwise 1; 2 after a bad option, or if the system refuses what the
run needs. Ctrl-C (SIGINT) or SIGTERM ends the run early, with the report so far, the word INTERRUPTED and the
status so far. A second Ctrl-C kills the run at once.
)";

constexpr option all_options[] = {{"processes", required_argument, nullptr, 'p'},
                                  {"threads", required_argument, nullptr, 't'},
                                  {"seconds", required_argument, nullptr, 's'},
                                  {"faults", required_argument, nullptr, 'f'},
                                  {"kills-per-second", required_argument, nullptr, 'k'},
                                  {"faults-per-second", required_argument, nullptr, 'o'},
                                  {"locks", required_argument, nullptr, 'n'},
                                  {"lock", required_argument, nullptr, 'l'},
                                  {"accounts", required_argument, nullptr, 'a'},
                                  {"seed", required_argument, nullptr, 'r'},
                                  {"help", no_argument, nullptr, 'h'},
                                  {nullptr, 0, nullptr, 0}};

[[noreturn]] void refuse(const std::string& option, const std::string& problem) {
  std::fprintf(stderr, "heirlock-stress: --%s: %s\n", option.c_str(), problem.c_str());
  std::exit(2);
}

// The value of the option that getopt_long has just read.
class Value {
 public:
  Value(const char* option, const char* text) : option_(option), text_(text) {}

  template <class Whole>
  void read(Whole& result, std::uint64_t least, std::uint64_t most) const {
    std::uint64_t number = 0;
    const char* const end = text_ + std::strlen(text_);
    const auto [stopped, error] = std::from_chars(text_, end, number);
    if (error != std::errc() || stopped != end || number < least || number > most)
      refuse_unless("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    result = static_cast<Whole>(number);
  }

  void read(double& result, const char* least, const char* most) const {
    char* end = nullptr;
    result = std::strtod(text_, &end);
    const bool is_in_range = result >= std::atof(least) && result <= std::atof(most);  // which nan is not
    if (end == text_ || *end != '\0' || !is_in_range)
      refuse_unless("a number from " + std::string(least) + " to " + most);
  }

  void read(LockKind& result) const {
    result = static_cast<LockKind>(index_in(lock_names, text_, "heirlock, pthread-robust, pthread or sem"));
  }

  void read(Faults& result) const {
    std::string_view rest = text_;
    if (rest == "all") {
      result.set();
      return;
    }
    for (result.reset();;) {
      const std::size_t comma = rest.find(',');
      result.set(index_in(fault_names, rest.substr(0, comma), "'all' or a list of " + as_list(~Faults())));
      if (comma == std::string_view::npos) return;
      rest.remove_prefix(comma + 1);
    }
  }

 private:
  template <std::size_t size>
  std::size_t index_in(const std::string_view (&names)[size], std::string_view name,
                       const std::string& what) const {
    const auto* const found = std::find(std::begin(names), std::end(names), name);
    if (found == std::end(names)) refuse_unless(what);
    return static_cast<std::size_t>(found - std::begin(names));
  }

  [[noreturn]] void refuse_unless(const std::string& what) const {
    refuse(option_, "'" + std::string(text_) + "' is not " + what);
  }

  const char* const option_;
  const char* const text_;
};

}  // namespace

Options read_options(int argc, char** argv) {
  Options options;
  bool has_seed = false, has_kill_rate = false, has_fault_rate = false;
  int index = 0;
  for (int letter; (letter = getopt_long(argc, argv, "", all_options, &index)) != -1;) {
    const Value value(all_options[index].name, optarg);
    switch (letter) {
      case 'p':
        value.read(options.processes, 1, most_processes);
        break;
      case 't':
        value.read(options.threads, 1, most_threads);
        break;
      case 's':
        value.read(options.seconds, "0.1", "86400");
        break;
      case 'f':
        value.read(options.faults);
        break;
      case 'k':
        value.read(options.kills_per_second, "0", "10000");
        has_kill_rate = options.kills_per_second > 0;
        break;
      case 'o':
        value.read(options.faults_per_second, "0", "1000");
        has_fault_rate = options.faults_per_second > 0;
        break;
      case 'n':
        value.read(options.locks, 1, most_locks);
        break;
      case 'l':
        value.read(options.lock);
        break;
      case 'a':
        value.read(options.accounts, 2, most_accounts);
        break;
      case 'r':
        value.read(options.seed, 0, std::numeric_limits<std::uint64_t>::max());
        has_seed = true;
        break;
      case 'h':
        std::fputs(help, stdout);
        std::exit(0);
      default:
        std::exit(2);  // getopt_long has said why
    }
  }
  if (optind < argc) {
    std::fprintf(stderr, "heirlock-stress: unexpected argument '%s'\n", argv[optind]);
    std::exit(2);
  }
  if (has_kill_rate && !options.faults[index_of(Fault::kill)])
    refuse("kills-per-second", "add kill to --faults");
  if (has_fault_rate && (options.faults & ~only(Fault::kill)).none())
    refuse("faults-per-second", "add a fault other than kill to --faults");
  if (options.faults[index_of(Fault::exec_thread)] && options.threads == 1)
    refuse("threads", "exec-thread in --faults needs 2 or more threads");
  if (options.processes * options.threads > most_threads_in_all)
    refuse("threads", std::to_string(options.processes) + " processes with " +
                          std::to_string(options.threads) + " threads each are more than 4096 threads");
  if (!has_seed) options.seed = std::random_device{}();
  options.command = "heirlock-stress";
  for (int i = 1; i < argc; ++i) options.command += std::string(" ") + argv[i];
  if (!has_seed) options.command += " --seed " + std::to_string(options.seed);
  return options;
}

}  // namespace stress
