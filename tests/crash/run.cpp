#include "run.hpp"

#include <alloca.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "support/machine.hpp"

namespace crash {
namespace {

using heirlock::AcquireResult;
using heirlock::detail::owner_died_bit;
using heirlock::detail::owner_of;

bool passes(sem_t& gate, int seconds) {
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += seconds;
  while (sem_clockwait(&gate, CLOCK_MONOTONIC, &until) != 0)
    if (errno != EINTR) return false;
  return true;
}

// strlen() reads a string near a page's end by other instructions. The stack begins at the same place of a
// page in each run, however deep its caller was.
void begin_on_a_page(const std::function<void(std::size_t)>& life, std::size_t desk) {
  constexpr std::uintptr_t page = 4096;
  const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  *static_cast<volatile char*>(alloca(frame % page + 1)) = 0;
  life(desk);
}

}  // namespace

Run::~Run() {
  for (Party& party : parties_) {
    if (!party.is_alive) continue;
    ::kill(party.pid, SIGKILL);
    waitpid(party.pid, nullptr, 0);
  }
}

Party& Run::make(const std::function<void(std::size_t)>& life, bool is_traced, std::size_t site_number) {
  Party& made = parties_.emplace_back();
  made.desk = parties_.size() - 1;
  made.site = &site(site_number);
  if (made.desk == World::most_parties) std::abort();
  const pid_t parent = getpid();
  made.pid = fork();
  if (made.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (is_traced) ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    begin_on_a_page(life, made.desk);
    _exit(1);
  }
  made.is_alive = true;
  if (is_traced) made.stepped.emplace(made.pid, futexes());
  return made;
}

void Run::make_victim() {
  scenario_.before(*this);
  const auto life = [this](std::size_t desk) {
    heirlock::ReentrantLock first;  // so that the steps are not those of a thread's first use
    first.lock();
    first.unlock();
    scenario_.prepared(world);
    raise(SIGSTOP);
    world.victims_phase = Phase::inside;
    scenario_.body(world);
    world.victims_phase = Phase::after;
    if (!world.victim_survives) raise(SIGSTOP);
    survive(world, desk, site(), Then::release);
  };
  victim_ = &make(life, true, 0);
  scenario_.around(*this);
}

Party& Run::party(Then then, std::size_t site_number) {
  const auto life = [this, site_number, then](std::size_t desk) {
    survive(world, desk, site(site_number), then);
  };
  return make(life, then == Then::stop_to_hold, site_number);
}

Party& Run::owner(Then then) {
  Party& made = party(then);
  if (!made.is_traced()) wait_at(world.desks[made.desk].owns, made, "did not get a free lock");
  return made;
}

Party& Run::sleeper(std::size_t site_number) {
  Party& made = party(Then::release, site_number);
  while (!is_asleep(made.pid, futexes())) sched_yield();
  return made;
}

Party& Run::barger() {
  Party& made = party(Then::hold);
  Desk& desk = world.desks[made.desk];
  for (int value = 0; value == 0 && !is_asleep(made.pid, futexes()); sched_yield())
    sem_getvalue(&desk.owns, &value);
  return made;
}

Party& Run::sleeper_that_stops() {
  const auto life = [this](std::size_t desk) {
    raise(SIGSTOP);
    survive(world, desk, site(), Then::release);
  };
  Party& made = make(life, true, 0);
  if (made.stepped->run_until_asleep() != Stop::asleep) complain("a waiter that was to sleep did not");
  return made;
}

void Run::let_an_owner_die() {
  const pid_t process = fork();
  if (process == 0) {
    static_cast<void>(site().lock().acquire());
    site().record.first = site().record.first + 1;
    _exit(0);
  }
  waitpid(process, nullptr, 0);
}

void Run::promise_inheritance() {
  promised_.insert({&site(), 0});
}

void Run::release(Party& owner) {
  Desk& desk = world.desks[owner.desk];
  sem_post(&desk.may_release);
  wait_at(desk.has_released, owner, "did not come to release");
  sem_post(&desk.has_released);  // it is looked at again in the end
}

void Run::let_go(Party& party) {
  party.stepped->let_go();
  party.stepped.reset();
}

// What the word says when the process is killed, it promises to the next.
void Run::note_promise(const Party& dying) {
  for (Site& of : world.sites) {
    const std::uint32_t word = of.lock().word();
    const std::uint32_t owner = owner_of(word);
    const bool is_left_flagged = owner == 0 && (word & owner_died_bit) != 0;
    if (owner == static_cast<std::uint32_t>(dying.pid) || is_left_flagged)
      promised_.insert({&of, of.count.load()});
  }
}

void Run::kill(Party& party) {
  if (!party.is_alive) return;
  note_promise(party);
  kill_unheard(party);
}

void Run::kill_unheard(Party& party) {
  if (!party.is_alive) return;
  ::kill(party.pid, SIGKILL);
  waitpid(party.pid, nullptr, 0);
  party.is_alive = false;
}

// Lets the others do what they do while it sleeps.
Stop Run::wait_for_victim() {
  for (;;) {
    const int sleep = sleeps_;
    if (goal_ && goal_->kind == Point::Kind::asleep && goal_->count == sleep) return Stop::asleep;
    ++sleeps_;
    scenario_.asleep(*this, sleep);
    if (goal_ && goal_->kind == Point::Kind::woken && goal_->count == sleep) return Stop::asleep;
    const Stop stop = victim_->stepped->wait();
    if (stop != Stop::asleep) return stop;
  }
}

std::vector<Point> Run::scout() {
  make_victim();
  std::vector<Point> points;
  std::map<std::uintptr_t, int> visits;
  std::uintptr_t last = 0;
  std::string before;  // of the last point
  while (world.victims_phase != Phase::after) {
    const std::uintptr_t here = victim_->stepped->next_instruction();
    // A repeated string instruction ends a step in each of its rounds, and meets a breakpoint in the first.
    const bool is_next_round = std::exchange(last, here) == here;
    const int count = is_next_round ? 0 : visits[here]++;
    const std::string now = what_outlives_the_victim();
    if (world.victims_phase == Phase::inside && !is_next_round)
      points.push_back({Point::Kind::instruction, here, count, now.empty() || now != before});
    // What the kernel does for it, and for those whom it wakes, is not seen at once.
    // Victim and tracer are forks of one program, and have the same code at the same place.
    before = support::is_system_call(here) ? "" : now;
    Stop stop = victim_->stepped->step();
    const int slept = sleeps_;
    if (stop == Stop::asleep) stop = wait_for_victim();
    for (int sleep = slept; sleep < sleeps_; ++sleep) {
      points.push_back({Point::Kind::asleep, here, sleep});
      points.push_back({Point::Kind::woken, here, sleep});
    }
    if (stop == Stop::trapped) continue;
    std::fprintf(stderr, "crash: %s: the victim ended before its body did\n", scenario_.name);
    std::abort();
  }
  return points;
}

// Of the memory that others share, every byte; of its own, what the kernel reads at its death. Empty where
// that cannot be told.
std::string Run::what_outlives_the_victim() const {
  std::string state(reinterpret_cast<const char*>(&world), sizeof world);
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, victim_->pid, &head, &size) != 0) return "";
  robust_list_head copy{};
  iovec here{&copy, sizeof copy};
  iovec there{head, sizeof copy};
  if (process_vm_readv(victim_->pid, &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof copy)) return "";
  return state.append(reinterpret_cast<const char*>(&copy), sizeof copy);
}

bool Run::reach(const Point& point) {
  goal_ = point;
  const bool is_instruction = point.kind == Point::Kind::instruction;
  Stepped& stepped = *victim_->stepped;
  int count = is_instruction ? point.count : 0;
  if (is_instruction && stepped.next_instruction() == point.address && count-- == 0) return true;
  for (;;) {
    Stop stop = is_instruction ? stepped.run_to(point.address) : stepped.run_to_system_call();
    if (stop == Stop::asleep) stop = wait_for_victim();
    if (stop == Stop::asleep) return true;
    if (stop == Stop::ended) return false;
    if (is_instruction && stepped.next_instruction() == point.address && count-- == 0) return true;
  }
}

Outcome Run::kill_at(const Point& point, Newcomer newcomer) {
  make_victim();
  if (!reach(point)) {
    outcome_.was_reached = false;
    return outcome_;
  }
  if (scenario_.kill)
    scenario_.kill(*this);
  else
    kill(victim());
  if (scenario_.settle) {
    outcome_.was_inherited = scenario_.settle(*this);
    return outcome_;
  }
  world.victim_survives = true;
  if (victim_->is_alive) let_go(*victim_);
  if (newcomer == Newcomer::comes_at_once) let_a_newcomer_in();
  scenario_.after(*this);
  if (newcomer == Newcomer::comes_last && have_all_released()) let_a_newcomer_in();
  if (outcome_.complaints.empty()) judge();
  outcome_.was_inherited = !promised_.empty();
  return outcome_;
}

// Who has not come in so long a time, on however busy a machine, is stranded.
bool Run::wait_at(sem_t& gate, const Party& party, const char* what) {
  constexpr int patience = 30;
  if (passes(gate, patience)) return true;
  char word[16];
  std::snprintf(word, sizeof word, "0x%08x", party.site->lock().word());
  complain("process " + std::to_string(party.desk) + " " + what + "; it " +
           (is_asleep(party.pid, futexes()) ? "sleeps on the lock" : "runs") + ", whose word is " + word);
  return false;
}

void Run::let_a_newcomer_in() {
  newcomer_ = &party();
}

// By what the dead and the living left alone: whoever comes later and releases would wake them as well.
bool Run::have_all_released() {
  for (Party& party : parties_) {
    Desk& desk = world.desks[party.desk];
    if (!party.is_alive) continue;
    if (!wait_at(desk.has_released, party,
                 &party == newcomer_ ? "is the next to acquire, and did not get the lock"
                                     : "survived, and did not get the lock"))
      return false;
    sem_post(&desk.has_released);  // it is looked at again in the end
  }
  return true;
}

void Run::judge() {
  if (!have_all_released()) return;
  for (const Site& of : world.sites)
    for (std::size_t i = 0; i < of.count; ++i) {
      const auto expected =
          promised_.count({&of, i}) != 0 ? AcquireResult::inherited : AcquireResult::acquired;
      if (of.results[i] != expected)
        complain("survivor " + std::to_string(i) + " of lock " + std::to_string(&of - world.sites) +
                 (expected == AcquireResult::inherited ? " acquired, although an owner had died"
                                                       : " inherited, although no owner had died"));
    }
  for (const auto& [of, i] : promised_)
    if (i >= of->count) complain("nobody inherited, although an owner had died");
  for (Party& party : parties_)
    if (party.is_alive && outcome_.complaints.empty()) judge_death(party);
  for (const Party& party : parties_)
    if (const char* complaint = world.desks[party.desk].complaint)
      complain("process " + std::to_string(party.desk) + ": " + complaint);
}

// It dies with all it can hold, and nothing of that may be lost.
void Run::judge_death(Party& party) {
  ++outcome_.survivors;
  Desk& desk = world.desks[party.desk];
  sem_post(&desk.may_die);
  if (!wait_at(desk.is_dying, party, "did not get the lock again")) return;
  waitpid(party.pid, nullptr, 0);
  party.is_alive = false;
  if (!was_left_by_the_dead(desk.before) || !was_left_by_the_dead(desk.between))
    complain("a robust mutex of a survivor that died did not report EOWNERDEAD");
  Lock lock = party.site->lock();
  if (lock.try_acquire() != AcquireResult::inherited) {
    complain("the lock of a survivor that died was not inherited");
    if (!lock.is_owned()) return;
  }
  lock.repaired();
  lock.release();
}

}  // namespace crash
