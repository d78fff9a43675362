// heirlock-bench-parties: what several processes or threads do to one lock. Prints one JSON object.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "bench/contended.hpp"
#include "bench/kill.hpp"
#include "bench/options.hpp"
#include "bench/ping_pong.hpp"

namespace bench {
namespace {

constexpr const char* help =
    R"(heirlock-bench-parties CASE [option...] measures one lock and prints JSON. ci/bench runs it.

  contended   all parties take the lock again and again: throughput, CPU time and system calls per operation,
              fairness (fewest / most operations of a party), waits, how long a wanted lock stays free
  ping-pong   two processes take turns: from the release of one until the other has the lock;
              --lock floor-switch does the same with a futex and no lock
  kill        from SIGKILL of an owner until its heir has the lock
  speed       steps of work that this processor does in a microsecond, for --speed

  --lock NAME      heirlock, lockable, glibc-robust, glibc, std-recursive, std-recursive-timed, boost or sem
  --processes N    contended: how many parties, 1 to 1024 (2)
  --threads N      contended: the parties are threads
  --section NS     contended: work done with the lock, in nanoseconds (0)
  --outside NS     contended: work done between two operations (0)
  --seconds S      contended: how long operations are measured, 0.01 to 3600 (0.3)
  --speed STEPS    contended: runs that are compared need the same speed (measured)
  --times N        ping-pong: hand-overs (20000); kill: owners (200)
  --pinned WHERE   ping-pong: both processes on the same processor, or apart (as the system likes)

Exit status: 0; 1 if a measurement failed; 2 for a bad option, or a case that does not apply to the lock.
)";

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "heirlock-bench-parties: %s\n", why.c_str());
  std::exit(2);
}

Options parse_options(int count, char** arguments) {
  if (count < 2 || std::string(arguments[count - 1]) == "--help") {
    std::fputs(help, stdout);
    std::exit(count < 2 ? 2 : 0);
  }
  if (count % 2 != 0) refuse("every option needs a value; see --help");
  std::map<std::string, std::string> given;
  for (int i = 2; i < count; i += 2) given[arguments[i]] = arguments[i + 1];
  const auto text = [&](const char* name) {
    const auto option = given.extract(name);
    return option ? option.mapped() : "";
  };
  const auto number = [&](const char* name, double otherwise, double least, double most) {
    const std::string word = text(name);
    if (word.empty()) return otherwise;
    char* end = nullptr;
    const double value = std::strtod(word.c_str(), &end);
    if (*end == '\0' && value >= least && value <= most) return value;
    refuse(std::string(name) + ": '" + word + "' is not a number, or too small or large; see --help");
  };
  Options options;
  options.measured = arguments[1];
  options.lock = text("--lock");
  options.kind = given.count("--threads") != 0 ? Kind::threads : Kind::processes;
  options.parties =
      static_cast<int>(number(options.kind == Kind::threads ? "--threads" : "--processes", 2, 1, 1024));
  options.section = static_cast<Nanoseconds>(number("--section", 0, 0, 1e9));
  options.outside = static_cast<Nanoseconds>(number("--outside", 0, 0, 1e9));
  options.seconds = number("--seconds", 0.3, 0.01, 3600);
  options.steps_per_microsecond = number("--speed", 0, 1, 1e6);
  options.times = static_cast<int>(number("--times", 0, 1, 1e8));
  options.pinned = text("--pinned");
  if (const std::string& where = options.pinned; where != "" && where != "same" && where != "apart")
    refuse("--pinned is same or apart, not '" + where + "'");
  if (!given.empty()) refuse("there is no option '" + given.begin()->first + "'; see --help");
  return options;
}

template <class Lock>
Values measure(const Options& options) {
  if (!Lock::can.between_processes && (options.kind == Kind::processes || options.measured != "contended"))
    refuse(options.lock + " is not for several processes; use contended --threads");
  if (options.measured == "contended") return contended<Lock>(options);
  if (options.measured == "ping-pong") return ping_pong<Lock>(options);
  if (options.measured != "kill") refuse("there is no case '" + options.measured + "'; see --help");
  if constexpr (Lock::can.robust)
    return kill_owners<Lock>(options);
  else
    refuse(options.lock + " is not robust: after a kill no heir would get it");
}

Values measure_by_name(const Options& options) {
  if (options.measured == "speed") return {{"steps_per_microsecond", options.steps_per_microsecond}};
  if (options.measured == "ping-pong" && options.lock == "floor-switch") return floor_switch(options);
  Values values;
  for_each_lock([&](auto type) {
    using Lock = typename decltype(type)::type;
    if (options.lock == Lock::name) values = measure<Lock>(options);
  });
  if (values.empty()) refuse("there is no lock '" + options.lock + "'; see --help");
  return values;
}

void print(const std::string& lock, const Values& values) {
  std::printf("{\"lock\": \"%s\", \"values\": {", lock.c_str());
  const char* separator = "";
  for (const auto& [name, value] : values) {
    std::printf("%s\"%s\": ", separator, name);
    separator = ", ";
    if (std::isfinite(value))
      std::printf("%.6g", value);
    else
      std::printf("null");
  }
  std::puts("}}");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  bench::Options options = bench::parse_options(count, arguments);
  if (options.steps_per_microsecond == 0)
    options.steps_per_microsecond = bench::Work::steps_per_microsecond();
  // A run may hang, as on a lock whose waiters are stranded. The signal kills it, and so its children.
  alarm(static_cast<unsigned>(options.seconds) * 2 + 100);
  bench::print(options.lock, bench::measure_by_name(options));
}
