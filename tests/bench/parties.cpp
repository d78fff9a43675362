// heirlock-bench-parties: what several processes or threads do to one lock. Prints one JSON object a run.
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <type_traits>

#include "bench/contended.hpp"
#include "bench/kill.hpp"
#include "bench/options.hpp"
#include "bench/ping_pong.hpp"

namespace bench {

Json floor_switch(const Options& options) {
  struct alignas(128) Turn {
    std::atomic<std::uint32_t> number{0};
  };
  const int times = options.times > 0 ? options.times : 20'000;
  const Work section(options.section, options.steps_per_microsecond);
  const Shared<Turn> turn;
  const Shared<Exchange> exchange;
  const auto futex = [&](int operation, std::uint32_t value) {
    syscall(SYS_futex, &turn->number, operation, value, nullptr, nullptr, 0);
  };
  Parties(options.kind, 2, [&](int index) {
    place(options.pinned, index);
    Rally rally(*exchange, section, times);
    for (int number = 0; number < rally.end(); ++number) {
      const auto last = static_cast<std::uint32_t>(number);
      if (number % 2 == index) {
        rally.give_up(number);
        turn->number.store(last + 1, std::memory_order_release);
        futex(FUTEX_WAKE, 1);
      } else {
        while (turn->number.load(std::memory_order_acquire) == last) futex(FUTEX_WAIT, last);
        rally.take_over(number);
      }
    }
  }).join();
  return report_of_turns("floor-switch", options, *exchange, times);
}

namespace {

template <class Lock>
Json measure(const Options& options) {
  const auto require = [&](bool can, const char* what) {
    if (!can) refuse("--lock: found '" + options.lock + "', which is not " + what + ", expected one that is");
  };
  require(options.kind == Kind::threads || Lock::can.between_processes,
          "for several processes (use --threads)");
  if (options.measured == "contended") return contended<Lock>(options);
  if (options.measured == "ping-pong") {
    if (options.parties != 2) refuse("ping-pong: found another number of parties than 2, expected 2");
    return ping_pong<Lock>(options);
  }
  if (options.measured == "kill") {
    require(Lock::can.robust, "robust: no heir of it would ever come inside");
    if constexpr (Lock::can.robust) return kill_owners<Lock>(options);
  }
  refuse("found the case '" + options.measured +
         "', expected contended, ping-pong, floor-switch, kill or speed; see --help");
}

Json speed(const Options& options) {
  Json json, values;
  values.number("steps_per_microsecond", options.steps_per_microsecond);
  return json.text("case", "speed").object("values", values);
}

Json measure_by_name(const Options& options) {
  if (options.measured == "floor-switch") return floor_switch(options);
  if (options.measured == "speed") return speed(options);
  Json result;
  bool found = false;
  std::string names;
  for_each_lock([&](auto type) {
    using Lock = typename decltype(type)::type;
    names += std::string(names.empty() ? "" : ", ") + Lock::name;
    if (options.lock != Lock::name) return;
    result = measure<Lock>(options);
    found = true;
  });
  if (!found) refuse("--lock: found '" + options.lock + "', expected one of " + names);
  return result;
}

// For a run that hangs, as on a lock whose waiters are stranded. Its children are killed with it.
void end_after(unsigned seconds) {
  signal(SIGALRM, [](int) {
    constexpr char text[] =
        "heirlock-bench-parties: found no end of the run in time, expected everybody to get the lock\n";
    static_cast<void>(!write(STDERR_FILENO, text, sizeof text - 1));
    _exit(1);
  });
  alarm(seconds);
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  const bench::Options options = bench::parse_options(count, arguments);
  bench::end_after(static_cast<unsigned>(options.seconds) * 2 + 100);
  std::puts(bench::measure_by_name(options).str().c_str());
}
