// Kills a process at every machine instruction of every scenario, one run a kill point, and says what
// followed.
//
//   sweep                     all scenarios
//   sweep SCENARIO            this one
//   sweep SCENARIO POINT      this one kill point of it
//   sweep --each-state-once   all scenarios, but no kill point at which all that outlives the victim, in
//                             shared memory and in the kernel, is as at the one before
//
// Each line of the table: how many kills, and how many of them at a process asleep in the kernel or just
// woken; what the words promised to those who came next, who were told just that; how many survivors got the
// lock, died with it and were inherited from; and how many kills were followed by anything but what they must
// be followed by. There are no kill points in the code by which the kernel tells the time.
//
// What each scenario proves stands at it, in scenarios.cpp. All of them prove this:
// Spec: lock.inherit.death, lock.inherit.depth, lock.inherit.flag, lock.acquire.progress
// Spec: lock.memory.node, protocol.linking, protocol.inv-list
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "scenarios.hpp"

namespace {

using crash::Outcome;
using crash::Point;
using crash::Run;
using crash::Scenario;
using crash::World;

struct Counts {
  int points = 0, asleep = 0, acquired = 0, inherited = 0, survivors = 0, bad = 0;

  void operator+=(const Counts& other) {
    points += other.points;
    asleep += other.asleep;
    acquired += other.acquired;
    inherited += other.inherited;
    survivors += other.survivors;
    bad += other.bad;
  }
};

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void* shared_memory() {
  void* const memory =
      mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return memory;
}

// Each run has a world of its own, and always at the same address: a victim executes the same instructions.
World& new_world() {
  static void* const memory = shared_memory();
  std::memset(memory, 0, sizeof(World));
  return *::new (memory) World;
}

bool may_trace() {
  const pid_t child = fork();
  if (child == 0) _exit(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

std::string place_of(const Point& point) {
  if (point.kind == Point::Kind::asleep)
    return "asleep, for the " + std::to_string(point.count + 1) + ". time";
  if (point.kind == Point::Kind::woken) return "woken, for the " + std::to_string(point.count + 1) + ". time";
  char text[300];
  Dl_info found{};
  if (dladdr(reinterpret_cast<void*>(point.address), &found) == 0) {
    std::snprintf(text, sizeof text, "address 0x%zx", point.address);
    return text;
  }
  std::snprintf(text, sizeof text, "before the instruction %s+0x%zx (%s), visit %d", found.dli_fname,
                point.address - reinterpret_cast<std::uintptr_t>(found.dli_fbase),
                found.dli_sname != nullptr ? found.dli_sname : "see addr2line -Cfie", point.count + 1);
  return text;
}

void report(const char* program, const Scenario& scenario, std::size_t number, const Point& point,
            const Outcome& outcome) {
  std::printf("BAD %s, kill point %zu, %s:\n", scenario.name, number, place_of(point).c_str());
  for (const std::string& complaint : outcome.complaints) std::printf("    %s\n", complaint.c_str());
  std::printf("    again: %s %s %zu\n", program, scenario.name, number);
}

void print_row(const char* name, const Counts& counts, double seconds, const char* acquired = "acquired",
               const char* inherited = "inherited") {
  std::printf("%-38s %6d %6d %7d %-9s %6d %-9s %9d %5d %6.1f s\n", name, counts.points, counts.asleep,
              counts.acquired, acquired, counts.inherited, inherited, counts.survivors, counts.bad, seconds);
  std::fflush(stdout);
}

Outcome kill_at(const Scenario& scenario, const Point& point) {
  constexpr int tries = 100;  // on a busy machine the victim may have slept before it is looked at
  Outcome outcome;
  for (int i = 0; i < tries; ++i) {
    outcome = Run(new_world(), scenario).kill_at(point, crash::Newcomer::comes_at_once);
    if (!outcome.was_reached) continue;
    if (!outcome.complaints.empty() || scenario.settle) return outcome;
    const Outcome again = Run(new_world(), scenario).kill_at(point, crash::Newcomer::comes_last);
    if (again.was_reached) return again;
  }
  outcome.complaints.push_back("the kill point was not reached");
  return outcome;
}

Counts sweep(const char* program, const Scenario& scenario, long only, bool each_state_once) {
  constexpr int enough_bad = 3;
  const double start = now();
  // Twice the same: what a busy machine makes it do but once could not be reached again.
  std::vector<Point> points = Run(new_world(), scenario).scout();
  for (std::vector<Point> before; before.size() != points.size(); points = Run(new_world(), scenario).scout())
    before = points;
  Counts counts;
  for (std::size_t i = 0; i < points.size() && counts.bad < enough_bad; ++i) {
    if (only >= 0 && i != static_cast<std::size_t>(only)) continue;
    // What is made in a file is not looked at.
    if (each_state_once && !points[i].is_new_state && !scenario.settle) continue;
    const Outcome outcome = kill_at(scenario, points[i]);
    ++counts.points;
    counts.asleep += points[i].kind != Point::Kind::instruction;
    ++(outcome.was_inherited ? counts.inherited : counts.acquired);
    counts.survivors += outcome.survivors;
    if (outcome.complaints.empty()) continue;
    ++counts.bad;
    report(program, scenario, i, points[i], outcome);
  }
  if (counts.bad == enough_bad) std::printf("    %s ends here: that is enough\n", scenario.name);
  if (scenario.settle)
    print_row(scenario.name, counts, now() - start, "nothing", "complete");
  else
    print_row(scenario.name, counts, now() - start);
  return counts;
}

bool is_a_scenario(const char* wanted) {
  if (wanted == nullptr) return true;
  for (const Scenario& scenario : crash::all_scenarios())
    if (std::strcmp(wanted, scenario.name) == 0) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const bool each_state_once = argc == 2 && std::strcmp(argv[1], "--each-state-once") == 0;
  const char* const wanted = argc > 1 && !each_state_once ? argv[1] : nullptr;
  char* end = nullptr;
  const long only = argc > 2 ? std::strtol(argv[2], &end, 10) : -1;
  if (argc > 3 || (argc > 2 && (end == argv[2] || *end != '\0' || only < 0))) {
    std::fprintf(stderr, "sweep: '%s' is not the number of a kill point\n", argv[argc - 1]);
    return 2;
  }
  if (!is_a_scenario(wanted)) {
    std::fprintf(stderr, "sweep: there is no scenario '%s'; choose from:\n", wanted);
    for (const Scenario& scenario : crash::all_scenarios()) std::fprintf(stderr, "  %s\n", scenario.name);
    return 2;
  }
  if (!may_trace()) {
    std::puts("skipped: this system does not let a process trace its child");
    return 0;
  }
  crash::prepare_to_trace();
  const double start = now();
  std::printf("%-38s %6s %6s %17s %16s %9s %5s\n", "scenario", "kills", "asleep", "the next", "", "survivors",
              "bad");
  Counts total;
  for (const Scenario& scenario : crash::all_scenarios())
    if (wanted == nullptr || std::strcmp(wanted, scenario.name) == 0)
      total += sweep(argv[0], scenario, only, each_state_once);
  print_row("total", total, now() - start);

  if (total.points == 0) {
    std::fprintf(stderr, "sweep: %s has no kill point %ld\n", wanted, only);
    return 2;
  }
  constexpr int fewest = 2000;  // of all scenarios: fewer, and they are not stepped through
  if (wanted == nullptr && total.points < fewest) {
    std::printf("FAILED: %d kill points, expected at least %d\n", total.points, fewest);
    return 1;
  }
  std::printf(total.bad == 0 ? "PASSED: %d kills, nothing bad followed\n"
                             : "FAILED: of %d kills, some were followed by what is BAD above\n",
              total.points);
  return total.bad == 0 ? 0 : 1;
}
