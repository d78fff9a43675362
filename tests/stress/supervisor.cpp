#include "stress/supervisor.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "stress/worker.hpp"

namespace stress {
namespace {

constexpr Nanoseconds roll_call_period = second / 20;
constexpr Nanoseconds longest_roll_call = 5 * second;
constexpr Nanoseconds look_period = 20 * millisecond;
constexpr Nanoseconds look_period_of_roll_call = millisecond;
constexpr Nanoseconds progress_period = second / 2;
constexpr Nanoseconds patience_at_the_end = 30 * second;
constexpr Nanoseconds patience_with_the_stranded = 3 * second;  // until others are found stranded as well
constexpr Nanoseconds patience_with_children = 30 * second;
constexpr std::size_t most_failures = 20;

// Whether the thread is gone, or a signal or a debugger stopped it: then it does not wait for the lock.
bool is_stopped_or_gone(pid_t process, pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');  // "tid (name) state ...", and a name may hold anything
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return true;
  return std::strchr("TtZXx", text[name_end + 2]) != nullptr;
}

std::string describe(pid_t process, int status) {
  const std::string text = "worker " + std::to_string(process) + " ended by itself, with ";
  if (WIFEXITED(status)) return text + "exit status " + std::to_string(WEXITSTATUS(status));
  return text + "signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
}

sigset_t signals_of_supervisor() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGCHLD, SIGINT, SIGTERM}) {
    signal(number, SIG_DFL);  // our parent may have ignored it
    sigaddset(&signals, number);
  }
  return signals;
}

// The workers inherit the handler: the signal interrupts a wait and has no other effect.
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
      workers_(options.processes),
      plan_(options),
      worker_random_(options.seed + 1),
      watches_(options.locks),
      stranded_since_(workers_lines()) {
  for (std::uint32_t bank = 0; bank < options.locks; ++bank)
    banks_.emplace_back(options.lock, options.accounts, bank);
  // The supervisor waits for these signals. The workers inherit the mask, as a Ctrl-C goes to all processes
  // but only the supervisor acts on it.
  signals_ = signals_of_supervisor();
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  handle_signals_of_faults();
  // The orphans of a killed worker become its children. In a container, nobody else may reap them.
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
    // Nobody will ever get that lock, so there is no more to see.
    if (hopeless_since_ != never &&
        (waiters.count == waiters.stranded || now() - hopeless_since_ > patience_with_the_stranded)) {
      result_.ended_early = "the owner of a lock will never release it";
      break;
    }
    if (!is_roll_call() && now() >= next_roll_call_ + roll_call_period) begin_roll_call();
    // Waiters that are counted as stranded may never get the lock.
    if (is_roll_call() && (waiters.count == waiters.stranded || now() - roll_call_since_ > longest_roll_call))
      end_roll_call();
    show_progress();
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
    // A waiter behind an owner that is stranded itself is not counted, and will not end either.
    if (waiters.stranded > 0 &&
        (waiters.stranded == waiters.count || now() - asked > patience_with_the_stranded))
      break;
    if (now() - asked > patience_at_the_end) {
      result_.failures.push_back("some workers had not ended 30 s after they were told to stop");
      break;
    }
    wait_for_signal(now() + look_period_of_roll_call);
    reap();
  }
  kill_all();
}

// Acquires each lock as the workers do, so that a transfer left half-done is recovered first.
void Supervisor::final_audit() {
  Visitor me(board_->lines[workers_lines()]);
  Nanoseconds patience = result_.stranded_after;
  for (Bank& bank : banks_) {
    if (const Bank::Visit visit(bank, patience); visit) {
      bank.audit();
    } else {
      ++result_.locks_lost;
      patience = second / 10;  // for the other locks
    }
    bank.check_outside();
  }
}

// Each forked child has looked at its parent's locks and ends soon, unless a lock blocks it.
void Supervisor::check_children() {
  const Nanoseconds until = now() + patience_with_children;
  while (board_->children_begun != board_->children_ended && now() < until) sleep_until(now() + millisecond);
  const std::uint64_t missed = board_->children_begun - board_->children_ended;
  if (missed > 0)
    result_.failures.push_back(std::to_string(missed) +
                               " forked children had not ended after 30 s; they should end after 20 ms");
}

void Supervisor::collect() {
  for (std::uint32_t i = 0; i <= workers_lines(); ++i) {
    const Line& line = board_->lines[i];
    result_.waits.add(line.waits);
    result_.operations += line.operations.read();
    result_.timed_out += line.timed_out.read();
    result_.inherited += line.inherited.read();
    result_.none_under_way += line.none_under_way.read();
    result_.finished += line.finished.read();
    result_.undone += line.undone.read();
    result_.wrong_owners += line.wrong_owners.read();
    result_.money_lost = std::max(result_.money_lost, line.money_lost.read());
    for (std::size_t kind = 0; kind < fault_kinds; ++kind) result_.faults[kind] += line.faults[kind].read();
  }
  result_.wrong_owners += board_->children_wrong;
  if (result_.waits.count() > 0)
    result_.longest_wait = std::max(result_.longest_wait, static_cast<Nanoseconds>(result_.waits.longest()));
}

Line& Supervisor::line_of(std::uint32_t worker, std::uint32_t thread) const {
  return board_->lines[worker * options_.threads + thread];
}

// --- Workers come and go -----------------------------------------------------------------------------------

void Supervisor::start(std::uint32_t worker) {
  const Employment employment{*board_, &line_of(worker, 0), options_.threads, worker_random_(), getpid()};
  const pid_t pid = fork();
  if (pid == 0) work(banks_, employment);
  if (pid < 0)
    throw std::system_error(errno, std::system_category(),
                            "cannot start a worker process; allow more processes, or use fewer");
  workers_[worker] = Worker{};
  workers_[worker].pid = pid;
}

// The next thread that uses the lock may wake a waiter that a kill has stranded. So, many times a second,
// there is a roll call around a fault, during which no operation begins. Some races need operations that
// begin, others need waiters that are served one by one: so the roll call comes before or after the fault.
// (Not around an ordered fault, as a worker brings it about in its next operation.)
void Supervisor::inject_if_due() {
  if (is_roll_call() || !plan_.next() || now() < started_ + plan_.next()->after || !is_any_alive()) return;
  const PlannedFault planned = *plan_.next();
  const bool is_roll_due = now() >= next_roll_call_ && !is_ordered(planned.fault);
  if (is_roll_due && planned.is_roll_call_first) {
    begin_roll_call();
    sleep_until(now() + planned.pause);
  }
  inject(planned);
  if (is_roll_due && !planned.is_roll_call_first) begin_roll_call();
  pass_over_fault();
}

void Supervisor::pass_over_fault() {
  ++result_.planned[index_of(plan_.next()->fault)];
  plan_.advance();
}

// Counts as planned what should have taken place by now.
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

// That thread, or the next one that waits.
void Supervisor::interrupt_a_waiter(std::uint32_t worker, std::uint32_t thread) {
  const std::uint32_t first = worker * options_.threads + thread;
  for (std::uint32_t i = 0; i < workers_lines(); ++i) {
    const std::uint32_t line = (first + i) % workers_lines();
    const std::uint32_t its_worker = line / options_.threads;
    if (!is_at_work(its_worker) || board_->lines[line].waiting_since.read() == 0) continue;
    if (syscall(SYS_tgkill, workers_[its_worker].pid, board_->lines[line].tid.read(), SIGUSR1) == 0)
      count(Fault::signal);
    return;
  }
}

// To that thread, or to the same thread of the next worker that has no order yet.
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
    if (found == workers_.end()) continue;  // an orphan, or a child that we were started with
    const auto worker = static_cast<std::uint32_t>(found - workers_.begin());
    note_death(worker, status);
    if (!is_stopping_) start(worker);
  }
}

// All its threads are gone by now, and the kernel has freed the lock if one of them held it.
void Supervisor::note_death(std::uint32_t worker, int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
    count(Fault::kill);
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
      if (!is_waiting(board_->lines[line], since, bank)) continue;
      ++waiters.count;
      result_.longest_wait = std::max(result_.longest_wait, now() - since);
      if (workers_[worker].is_stopped) continue;
      const Nanoseconds begin = std::max(since, workers_[worker].stopped_until);
      result_.longest_wait_while_free =
          std::max(result_.longest_wait_while_free, watches_[bank].waited_while_free(begin));
      if (is_stranded(line, workers_[worker], begin, bank)) ++waiters.stranded;
    }
  }
  return waiters;
}

void Supervisor::look_at_locks() {
  for (std::uint32_t bank = 0; bank < options_.locks; ++bank)
    watches_[bank].look(now(), !is_in_good_hands(bank),
                        banks_[bank].ledger().visits.load(std::memory_order_relaxed));
}

// Not if the owner is dead: then the lock should be free. Nor if the owner waits for its own lock: it will
// never release the lock.
bool Supervisor::is_in_good_hands(std::uint32_t bank) const {
  const pid_t owner = banks_[bank].lock().owner();
  const Line* const line = owner > 0 ? line_of_owner(owner) : nullptr;
  if (line == nullptr || !line->is_busy.read()) return false;
  return line->waiting_since.read() == 0 || line->waiting_for.read() != bank;
}

// Null if the owner is dead or about to die: it will not release the lock.
const Line* Supervisor::line_of_owner(pid_t owner) const {
  for (std::uint32_t line = 0; line < workers_lines(); ++line) {
    if (board_->lines[line].tid.read() != owner) continue;
    return line_of(line / options_.threads, 0).is_leaving.read() ? nullptr : &board_->lines[line];
  }
  return nullptr;
}

Obstacle Supervisor::obstacle_of(std::uint32_t bank) const {
  const pid_t owner = banks_[bank].lock().owner();
  if (owner == 0) return Obstacle::nobody;
  if (owner < 0) return Obstacle::unknown_owner;
  return line_of_owner(owner) == nullptr ? Obstacle::dead_owner : Obstacle::unaware_owner;
}

// The two numbers must be of the same wait.
bool Supervisor::is_waiting(const Line& line, Nanoseconds& since, std::uint32_t& bank) {
  since = line.waiting_since.read();
  bank = line.waiting_for.read();
  return since != 0 && since == line.waiting_since.read();
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

// On a terminal: one line, which the next line overwrites.
void Supervisor::show_progress() {
  if (now() < next_progress_ || isatty(STDOUT_FILENO) != 1) return;
  next_progress_ += progress_period;
  std::printf("%7.1f s of %g, %llu kills\r", in_seconds(now() - started_), options_.seconds,
              static_cast<unsigned long long>(result_.faults[index_of(Fault::kill)]));
  std::fflush(stdout);
}

Nanoseconds Supervisor::next_event() const {
  if (is_roll_call()) return now() + look_period_of_roll_call;
  Nanoseconds next = now() + look_period;
  if (is_any_alive() && plan_.next()) next = std::min(next, started_ + plan_.next()->after);
  for (const Worker& worker : workers_)
    if (worker.is_stopped) next = std::min(next, worker.stopped_until);
  return next;
}

// Returns after a signal, such as that of a child's death, or at that moment.
void Supervisor::wait_for_signal(Nanoseconds until) {
  const timespec timeout = as_timespec(std::max(until - now(), Nanoseconds{0}));
  const int number = sigtimedwait(&signals_, nullptr, &timeout);
  if (number != SIGINT && number != SIGTERM) return;
  result_.interrupted = true;
  // The next one kills the supervisor at once, and the kernel kills the workers with it.
  sigset_t interrupts = signals_;
  sigdelset(&interrupts, SIGCHLD);
  pthread_sigmask(SIG_UNBLOCK, &interrupts, nullptr);
}

}  // namespace stress
