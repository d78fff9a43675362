#include "bench/options.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "bench/processor.hpp"
#include "bench/work.hpp"

namespace bench {
namespace {

constexpr const char* help =
    R"(heirlock-bench-parties CASE --lock NAME [option...]: measures what several parties do to one lock, and prints
one JSON object.

  contended     all take the lock, again and again, for a while
      --processes N | --threads N   how many they are (1 to 1024; 2 processes)
      --section NS                  how long each holds the lock (0), besides one increment under it
      --outside NS                  how long each does something else before it comes again (0)
      --seconds S                   how long they are measured (0.01 to 3600; 0.3); before it they warm up,
                                    after it system calls are counted and free locks watched
      --speed STEPS                 of this processor, as the case 'speed' tells it (measured anew)
    cpu_ns_per_operation        of all parties, work and spinning included
    syscalls_per_operation      as the kernel counts them; null when only root may ask it
    fairness                    the fewest operations of one party, divided by the most of one
    wait_p50_ns, wait_p99_ns    until the lock was had, of one acquire of 16
    wait_max_ns                 the longest of all; beyond the timed ones to within some milliseconds
    free_p50_ns, free_p99_ns, free_p999_ns, free_max_ns
                                how long the lock was free while somebody wanted it
  ping-pong     two take turns: from one's release to the other's having it
      --threads 2                   they are threads (processes)
      --section NS, --speed STEPS   how long each keeps its turn (0)
      --times N                     how many hand-overs (20000)
      --pinned same|apart           on one processor, or on two (wherever the system puts them)
    ns_per_handover             on the average, with section and clock
  floor-switch  the same with a futex and no lock, as a floor; options as ping-pong, no --lock
  kill          from SIGKILL of an owner to its heir's being inside
      --times N                     how many owners are killed (200)
  speed         no lock: how many steps of work this processor does in a microsecond. It changes by some percent from
                run to run; so runs that are to be compared are all given the same one
    steps_per_microsecond       for --speed

Locks: heirlock, lockable, glibc-robust, glibc, std-recursive, std-recursive-timed, boost, sem.
Durations are in nanoseconds. Exit status: 0; 1 when something failed; 2 for a bad option, or for a case that
the lock has no part in.
)";

// The text as a number between the two, or the end of the program.
template <class Number>
Number number_in(const char* option, std::string_view text, Number least, Number most) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stopped == end && value >= least && value <= most) return value;
  refuse(std::string(option) + ": found '" + std::string(text) + "', expected a number from " +
         std::to_string(least) + " to " + std::to_string(most));
}

constexpr int most_parties = 1024;
constexpr int most_times = 100'000'000;
constexpr Nanoseconds longest_work = second;

// Reads one option and its value.
class Reader {
 public:
  Reader(int count, char** arguments) : end_(arguments + count), at_(arguments + 1) {}

  bool is_at_end() const { return at_ == end_; }
  const char* next() { return *at_++; }
  const char* value_of(const char* option) {
    if (is_at_end()) refuse(std::string(option) + ": found no value, expected one");
    return next();
  }
  Pinned pinned() {
    const std::string_view value = value_of("--pinned");
    if (value == "same") return Pinned::same;
    if (value == "apart") return Pinned::apart;
    refuse("--pinned: found '" + std::string(value) + "', expected same or apart");
  }

 private:
  char** const end_;
  char** at_;
};

void read_option(Options& options, const char* option, Reader& reader) {
  const std::string_view name = option;
  const auto number = [&](auto least, auto most) {
    return number_in(option, reader.value_of(option), least, most);
  };
  if (name == "--lock") {
    options.lock = reader.value_of(option);
  } else if (name == "--processes" || name == "--threads") {
    options.kind = name == "--threads" ? Kind::threads : Kind::processes;
    options.parties = number(1, most_parties);
  } else if (name == "--section") {
    options.section = number(Nanoseconds{0}, longest_work);
  } else if (name == "--outside") {
    options.outside = number(Nanoseconds{0}, longest_work);
  } else if (name == "--speed") {
    options.steps_per_microsecond = number(1.0, 1e6);
  } else if (name == "--seconds") {
    options.seconds = number(0.01, 3600.0);
  } else if (name == "--times") {
    options.times = number(1, most_times);
  } else if (name == "--pinned") {
    options.pinned = reader.pinned();
  } else {
    refuse("found '" + std::string(name) +
           "', expected one of --lock, --processes, --threads, --section, --outside, --speed, --seconds, "
           "--times, --pinned, --help");
  }
}

}  // namespace

void refuse(const std::string& found_and_expected) {
  std::fprintf(stderr, "heirlock-bench-parties: %s\n", found_and_expected.c_str());
  std::exit(2);
}

void place(Pinned pinned, int index) {
  if (pinned != Pinned::no) pin(pinned == Pinned::apart ? index : 0);
}

Options parse_options(int count, char** arguments) {
  Options options;
  Reader reader(count, arguments);
  while (!reader.is_at_end()) {
    const char* const word = reader.next();
    if (std::strcmp(word, "--help") == 0) {
      std::fputs(help, stdout);
      std::exit(0);
    }
    if (options.measured.empty() && std::strncmp(word, "--", 2) != 0)
      options.measured = word;
    else
      read_option(options, word, reader);
  }
  if (options.steps_per_microsecond == 0) options.steps_per_microsecond = Work::steps_per_microsecond();
  return options;
}

}  // namespace bench
