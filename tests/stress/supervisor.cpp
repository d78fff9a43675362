#include "stress/supervisor.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <system_error>
#include <thread>

#include "stress/worker.hpp"

namespace stress {
namespace {

constexpr Nanoseconds roll_call_period = second / 20;
constexpr Nanoseconds longest_roll_call = 5 * second;
constexpr Nanoseconds look_period = 20 * millisecond;
constexpr Nanoseconds look_period_of_roll_call = millisecond;
constexpr Nanoseconds progress_period = second / 2;
constexpr Nanoseconds patience_at_the_end = 30 * second;
constexpr Nanoseconds patience_with_the_stranded = 3 * second;  // for others to be found stranded as well
constexpr Nanoseconds patience_with_children = 30 * second;
constexpr std::size_t most_failures = 20;

// Whether a signal or a debugger stopped the thread, or it is gone: then it does not wait for the lock.
bool is_stopped_or_gone(pid_t process, pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');  // "tid (name) state ...", and a name may hold anything
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return true;
  return std::strchr("TtZXx", text[name_end + 2]) != nullptr;
}

std::string describe(pid_t process, int status) {
  std::string text =
      "worker " + std::to_string(process) + " ended with wait status " + std::to_string(status) + " (";
  if (WIFEXITED(status))
    text += "exit status " + std::to_string(WEXITSTATUS(status));
  else
    text += "signal " + std::to_string(WTERMSIG(status)) + ", " + strsignal(WTERMSIG(status));
  return text + "); a worker must run until it is killed or told to end";
}

sigset_t signals_of_supervisor() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGCHLD, SIGINT, SIGTERM}) {
    signal(number, SIG_DFL);  // whoever started us may have had them ignored
    sigaddset(&signals, number);
  }
  return signals;
}

// The workers inherit it: a signal that comes in the middle of a wait, and has no other effect.
void handle_signals_of_faults() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, nullptr);
}

bool is_ordered(Fault fault) {
  return fault != Fault::kill && fault != Fault::stop && fault != Fault::signal;
}

}  // namespace

Supervisor::Supervisor(const Options& options)
    : options_(options),
      banks_(make_banks(options)),
      workers_(options.processes),
      plan_(options),
      worker_random_(options.seed.value_or(0) + 1),
      watches_(options.locks),
      stranded_since_(std::size_t{options.processes} * options.threads) {
  // They are waited for, not handled. The workers inherit the mask: a Ctrl-C, which goes to all of them, is
  // the supervisor's business.
  signals_ = signals_of_supervisor();
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  handle_signals_of_faults();
  // The children of a killed worker come to it: not everywhere does somebody else bury them.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  result_.asked = options.faults;
  result_.stranded_after = stranded_after(options.faults);
  result_.seconds_asked = options.seconds;
}

Supervisor::~Supervisor() {
  kill_all();
}

Result Supervisor::run() {
  for (std::uint32_t worker = 0; worker < options_.processes; ++worker) start(worker);
  started_ = now();
  next_progress_ = started_ + progress_period;
  end_roll_call();
  keep_workers_busy();
  result_.elapsed = now() - started_;
  pass_over_missed_faults();
  stop_workers();
  display_.clear();
  final_audit();
  check_children();
  collect();
  return result_;
}

void Supervisor::keep_workers_busy() {
  const Nanoseconds end = started_ + static_cast<Nanoseconds>(options_.seconds * static_cast<double>(second));
  while (!result_.interrupted && now() < end && result_.failures.size() < most_failures) {
    resume_if_due();
    inject_if_due();
    const Waiters waiters = look();
    // Nobody will ever get that lock: there is no more to be seen.
    if (hopeless_since_ != never &&
        (waiters.count == waiters.stranded || now() - hopeless_since_ > patience_with_the_stranded)) {
      result_.ended_early = "its owner will never release that lock";
      break;
    }
    if (!is_roll_call() && now() >= next_roll_call_ + roll_call_period) begin_roll_call();
    // Whoever is counted as stranded may never come.
    if (is_roll_call() && (waiters.count == waiters.stranded || now() - roll_call_since_ > longest_roll_call))
      end_roll_call();
    show_progress(waiters);
    wait_for_signal(std::min(next_event(), end));
    reap();
  }
  if (result_.failures.size() >= most_failures) result_.ended_early = "too many workers failed";
}

void Supervisor::stop_workers() {
  is_stopping_ = true;
  for (Worker& worker : workers_) resume(worker);
  board_->phase.set(Phase::stop);
  const Nanoseconds asked = now();
  while (is_any_left()) {
    const Waiters waiters = look();
    // Who waits behind an owner that is stranded itself is not counted, and will not come either.
    if (waiters.stranded > 0 &&
        (waiters.stranded == waiters.count || now() - asked > patience_with_the_stranded))
      break;
    if (now() - asked > patience_at_the_end) {
      result_.failures.push_back("some workers had not ended 30 s after they were told to");
      break;
    }
    wait_for_signal(now() + look_period_of_roll_call);
    reap();
  }
  kill_all();
}

// Takes each lock as everybody does, so that what the last victims left is recovered first.
void Supervisor::final_audit() {
  Visitor me(board_->lines[workers_lines()]);
  constexpr Nanoseconds once_one_failed = second / 10;
  Nanoseconds patience = result_.stranded_after;
  for (std::uint32_t bank = 0; bank < options_.locks; ++bank) {
    me.begin_to_wait(bank);
    if (banks_->audit(bank, std::chrono::nanoseconds(patience))) continue;
    me.stop_waiting();
    patience = once_one_failed;
    ++result_.locks_lost;
  }
}

// Each forked child has looked at its parent's locks and ends soon, if no lock keeps it.
void Supervisor::check_children() {
  const Nanoseconds until = now() + patience_with_children;
  while (board_->children_begun != board_->children_ended && now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::uint64_t missed = board_->children_begun - board_->children_ended;
  if (missed > 0)
    result_.failures.push_back(std::to_string(missed) +
                               " forked children had not ended after 30 s; 20 ms should be enough");
}

void Supervisor::collect() {
  result_.operations = total(&Line::operations);
  result_.timed_out = total(&Line::timed_out);
  result_.inherited = total(&Line::inherited);
  result_.none_under_way = total(&Line::none_under_way);
  result_.finished = total(&Line::finished);
  result_.undone = total(&Line::undone);
  result_.wrong_owners = total(&Line::wrong_owners) + board_->children_wrong;
  result_.longest_wait = std::max(result_.longest_wait, largest(&Line::longest_wait));
  result_.money_lost = largest(&Line::money_lost);
  add_up(&Line::waits, result_.waits);
  add_up(&Line::faults, result_.faults);
  result_.faults[index_of(Fault::kill)] = result_.kills;
}

template <std::size_t size>
void Supervisor::add_up(Posted<std::uint64_t> (Line::*fields)[size],
                        std::array<std::uint64_t, size>& sums) const {
  for (std::size_t line = 0; line <= workers_lines(); ++line)
    for (std::size_t field = 0; field < size; ++field)
      sums[field] += (board_->lines[line].*fields)[field].read();
}

std::uint64_t Supervisor::total(Field<std::uint64_t> field) const {
  std::uint64_t sum = 0;
  for (std::size_t line = 0; line <= workers_lines(); ++line) sum += (board_->lines[line].*field).read();
  return sum;
}

std::int64_t Supervisor::largest(Field<std::int64_t> field) const {
  std::int64_t most = 0;
  for (std::size_t line = 0; line <= workers_lines(); ++line)
    most = std::max(most, (board_->lines[line].*field).read());
  return most;
}

Line& Supervisor::line_of(std::uint32_t worker, std::uint32_t thread) const {
  return board_->lines[worker * options_.threads + thread];
}

// --- Workers come and go -----------------------------------------------------------------------------------

void Supervisor::start(std::uint32_t worker) {
  const Employment employment{*board_,           &line_of(worker, 0), options_.threads,
                              options_.accounts, worker_random_(),    getpid()};
  const pid_t pid = fork();
  if (pid == 0) banks_->employ(employment);
  if (pid < 0)
    throw std::system_error(errno, std::system_category(),
                            "cannot start a worker process; allow more processes, or use fewer");
  workers_[worker] = Worker{};
  workers_[worker].pid = pid;
}

// A kill may strand a waiter only until the next thread that comes along wakes it. So, many times a second,
// the roll is called around a fault: from then on nobody comes along. Before the fault or after it, since
// some windows open only while others come and go, and some while the waiters are let through. (Not around
// one that a worker brings about when it next comes along.)
void Supervisor::inject_if_due() {
  if (is_roll_call() || !plan_.next() || now() < started_ + plan_.next()->after || !is_any_alive()) return;
  const PlannedFault planned = *plan_.next();
  const bool is_roll_due = now() >= next_roll_call_ && !is_ordered(planned.fault);
  if (is_roll_due && planned.is_roll_call_first) {
    begin_roll_call();
    std::this_thread::sleep_for(std::chrono::nanoseconds(planned.pause));
  }
  inject(planned);
  if (is_roll_due && !planned.is_roll_call_first) begin_roll_call();
  pass_over_fault();
}

void Supervisor::pass_over_fault() {
  ++result_.planned[index_of(plan_.next()->fault)];
  plan_.advance();
}

// Those that would have taken place by now.
void Supervisor::pass_over_missed_faults() {
  while (plan_.next() && plan_.next()->after <= result_.elapsed) pass_over_fault();
}

void Supervisor::inject(const PlannedFault& planned) {
  std::uint32_t victim = planned.worker;
  while (!workers_[victim].is_alive()) victim = (victim + 1) % options_.processes;
  switch (planned.fault) {
    case Fault::kill:
      kill(workers_[victim].pid, SIGKILL);
      workers_[victim].is_killed = true;
      break;
    case Fault::stop:
      stop(workers_[victim], planned.duration);
      break;
    case Fault::signal:
      interrupt_a_waiter(victim, planned.thread);
      break;
    case Fault::exit:
    case Fault::fork:
    case Fault::exec:
    case Fault::exec_thread:
    case Fault::timeout:
      order(planned);
      break;
  }
}

void Supervisor::stop(Worker& worker, Nanoseconds duration) {
  kill(worker.pid, SIGSTOP);
  worker.is_stopped = true;
  worker.stopped_until = now() + duration;
  count(Fault::stop);
}

void Supervisor::resume_if_due() {
  for (Worker& worker : workers_)
    if (worker.is_stopped && now() >= worker.stopped_until) resume(worker);
}

void Supervisor::resume(Worker& worker) {
  if (!worker.is_stopped) return;
  kill(worker.pid, SIGCONT);
  worker.is_stopped = false;
  worker.stopped_until = now();
}

// That thread, or from there on the next that waits.
void Supervisor::interrupt_a_waiter(std::uint32_t worker, std::uint32_t thread) {
  const auto first = static_cast<std::size_t>(worker) * options_.threads + thread;
  for (std::size_t i = 0; i < workers_lines(); ++i) {
    const std::size_t line = (first + i) % workers_lines();
    const auto its_worker = static_cast<std::uint32_t>(line / options_.threads);
    if (!is_at_work(its_worker) || board_->lines[line].waiting_since.read() == 0) continue;
    if (syscall(SYS_tgkill, workers_[its_worker].pid, board_->lines[line].tid.read(), SIGUSR1) == 0)
      count(Fault::signal);
    return;
  }
}

// To that thread, or to its like of the next worker that has no order to carry out.
void Supervisor::order(const PlannedFault& planned) {
  for (std::uint32_t i = 0; i < options_.processes; ++i) {
    Line& line = line_of((planned.worker + i) % options_.processes, planned.thread);
    if (line.ordered.read() != 0) continue;
    line.ordered.post(static_cast<std::uint32_t>(index_of(planned.fault)) + 1);
    return;
  }
}

void Supervisor::kill_all() noexcept {
  is_stopping_ = true;
  for (Worker& worker : workers_) {
    if (worker.pid == 0) continue;
    kill(worker.pid, SIGKILL);
    while (waitpid(worker.pid, nullptr, 0) < 0 && errno == EINTR) continue;
    worker = Worker{};
  }
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto found = std::find_if(workers_.begin(), workers_.end(),
                                    [pid](const Worker& worker) { return worker.pid == pid; });
    if (found == workers_.end()) continue;  // a worker's child, or one that we were started with
    const auto worker = static_cast<std::uint32_t>(found - workers_.begin());
    note_death(worker, status);
    if (!is_stopping_) start(worker);
  }
}

// All its threads are gone by now, and the kernel has freed the lock if one of them held it.
void Supervisor::note_death(std::uint32_t worker, int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
    ++result_.kills;
  else if (!has_left_as_it_should(status))
    result_.failures.push_back(describe(workers_[worker].pid, status));
  workers_[worker] = Worker{};
  for (std::uint32_t thread = 0; thread < options_.threads; ++thread) {
    line_of(worker, thread).tid.post(0);
    line_of(worker, thread).waiting_since.post(0);
    line_of(worker, thread).is_leaving.post(false);
  }
}

bool Supervisor::has_left_as_it_should(int status) const {
  if (!WIFEXITED(status)) return false;
  return (is_stopping_ && WEXITSTATUS(status) == 0) || WEXITSTATUS(status) == left_on_order;
}

bool Supervisor::is_any_left() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.pid != 0; });
}

bool Supervisor::is_any_alive() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.is_alive(); });
}

// --- Watching ----------------------------------------------------------------------------------------------

void Supervisor::begin_roll_call() {
  roll_call_since_ = now();
  board_->phase.set(Phase::roll_call);
}

void Supervisor::end_roll_call() {
  roll_call_since_ = 0;
  next_roll_call_ = now() + roll_call_period;
  board_->phase.set(Phase::work);
}

Supervisor::Waiters Supervisor::look() {
  Waiters waiters;
  look_at_locks();
  for (std::uint32_t worker = 0; worker < options_.processes; ++worker) {
    if (!is_at_work(worker)) continue;
    for (std::uint32_t thread = 0; thread < options_.threads; ++thread) {
      const std::uint32_t line = worker * options_.threads + thread;
      Nanoseconds since = 0;
      std::uint32_t bank = 0;
      if (!is_waiting(line, since, bank)) continue;
      ++waiters.count;
      waiters.longest = std::max(waiters.longest, now() - since);
      if (workers_[worker].is_stopped) continue;
      const Nanoseconds begin = std::max(since, workers_[worker].stopped_until);
      result_.longest_wait_while_free =
          std::max(result_.longest_wait_while_free, watches_[bank].waited_while_free(begin));
      if (is_stranded(line, workers_[worker], begin, bank)) ++waiters.stranded;
    }
  }
  result_.longest_wait = std::max(result_.longest_wait, waiters.longest);
  return waiters;
}

void Supervisor::look_at_locks() {
  for (std::uint32_t bank = 0; bank < options_.locks; ++bank)
    watches_[bank].look(now(), !is_in_good_hands(bank), banks_->visits(bank));
}

// A lock whose owner is dead and buried is free as well, and ought to know it; and an owner that waits for
// its own lock will never give it back.
bool Supervisor::is_in_good_hands(std::uint32_t bank) const {
  const pid_t owner = banks_->owner(bank);
  const Line* const line = owner > 0 ? line_of_owner(owner) : nullptr;
  if (line == nullptr || !line->is_busy.read()) return false;
  return line->waiting_since.read() == 0 || line->waiting_for.read() != bank;
}

// Null when it is dead, or about to be: what it holds it will not give back.
const Line* Supervisor::line_of_owner(pid_t owner) const {
  for (std::size_t line = 0; line < workers_lines(); ++line) {
    if (board_->lines[line].tid.read() != owner) continue;
    const auto worker = static_cast<std::uint32_t>(line / options_.threads);
    return line_of(worker, 0).is_leaving.read() ? nullptr : &board_->lines[line];
  }
  return nullptr;
}

Obstacle Supervisor::obstacle_of(std::uint32_t bank) const {
  const pid_t owner = banks_->owner(bank);
  if (owner == 0) return Obstacle::nobody;
  if (owner < 0) return Obstacle::unknown_owner;
  return line_of_owner(owner) == nullptr ? Obstacle::dead_owner : Obstacle::unaware_owner;
}

// What a thread waits for, and since when, are two numbers: both must be of one wait.
bool Supervisor::is_waiting(std::uint32_t line, Nanoseconds& since, std::uint32_t& bank) const {
  since = board_->lines[line].waiting_since.read();
  bank = board_->lines[line].waiting_for.read();
  return since != 0 && since == board_->lines[line].waiting_since.read();
}

bool Supervisor::is_at_work(std::uint32_t worker) const {
  return workers_[worker].is_alive() && !line_of(worker, 0).is_leaving.read();
}

// Counts it, once.
bool Supervisor::is_stranded(std::uint32_t line, const Worker& worker, Nanoseconds waiting_since,
                             std::uint32_t bank) {
  if (stranded_since_[line] == waiting_since) return true;
  if (watches_[bank].waited_while_free(waiting_since) <= result_.stranded_after) return false;
  if (is_stopped_or_gone(worker.pid, board_->lines[line].tid.read())) return false;
  stranded_since_[line] = waiting_since;
  ++result_.stranded_waiters;
  const Obstacle obstacle = obstacle_of(bank);
  ++result_.stranded_behind[static_cast<std::size_t>(obstacle)];
  if (obstacle != Obstacle::nobody) hopeless_since_ = std::min(hopeless_since_, now());
  return true;
}

void Supervisor::show_progress(const Waiters& waiters) {
  const Nanoseconds moment = now();
  if (!display_.is_visible() || moment < next_progress_) return;
  const Nanoseconds since_last = moment - next_progress_ + progress_period;
  next_progress_ = moment + progress_period;
  const std::uint64_t operations = total(&Line::operations);
  display_.show(progress_line({moment - started_,
                               static_cast<double>(operations - operations_shown_) / in_seconds(since_last),
                               result_.kills, total(&Line::inherited), waiters.longest}));
  operations_shown_ = operations;
}

Nanoseconds Supervisor::next_event() const {
  if (is_roll_call()) return now() + look_period_of_roll_call;
  Nanoseconds next = now() + look_period;
  if (is_any_alive() && plan_.next()) next = std::min(next, started_ + plan_.next()->after);
  for (const Worker& worker : workers_)
    if (worker.is_stopped) next = std::min(next, worker.stopped_until);
  return next;
}

// Returns when a signal has come, a child's death among them, or at that moment.
void Supervisor::wait_for_signal(Nanoseconds until) {
  const timespec timeout = as_timespec(std::max(until - now(), Nanoseconds{0}));
  const int number = sigtimedwait(&signals_, nullptr, &timeout);
  if (number != SIGINT && number != SIGTERM) return;
  result_.interrupted = true;
  // The next one ends the supervisor in the usual way, at once, and the kernel ends the workers with it.
  sigset_t interrupts = signals_;
  sigdelset(&interrupts, SIGCHLD);
  pthread_sigmask(SIG_UNBLOCK, &interrupts, nullptr);
}

}  // namespace stress
