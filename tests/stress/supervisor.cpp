#include "stress/supervisor.hpp"

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
  return text + "), expected it to work until it is killed or stopped";
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

}  // namespace

Supervisor::Supervisor(const Options& options)
    : options_(options),
      ledger_(options.accounts),
      bank_(*ledger_),
      workers_(options.processes),
      kill_random_(options.seed.value_or(0)),
      worker_random_(options.seed.value_or(0) + 1),
      stranded_since_(std::size_t{options.processes} * options.threads) {
  // They are waited for, not handled. The workers inherit the mask: a Ctrl-C, which goes to all of them, is
  // the supervisor's business.
  signals_ = signals_of_supervisor();
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

Supervisor::~Supervisor() {
  kill_all();
}

Result Supervisor::run() {
  for (std::uint32_t worker = 0; worker < options_.processes; ++worker) start(worker);
  started_ = now();
  next_progress_ = started_ + progress_period;
  schedule_next_kill();
  end_roll_call();
  keep_workers_busy();
  result_.elapsed = now() - started_;
  stop_workers();
  display_.clear();
  final_audit();
  collect();
  return result_;
}

void Supervisor::keep_workers_busy() {
  const Nanoseconds end = started_ + static_cast<Nanoseconds>(options_.seconds * static_cast<double>(second));
  while (!result_.interrupted && now() < end && result_.failures.size() < most_failures) {
    kill_if_due();
    const Waiters waiters = look();
    if (!is_roll_call() && now() >= next_roll_call_ + roll_call_period) begin_roll_call();
    // Whoever is counted as stranded may never come.
    if (is_roll_call() && (waiters.count == waiters.stranded || now() - roll_call_since_ > longest_roll_call))
      end_roll_call();
    show_progress(waiters);
    wait_for_signal(std::min(next_event(), end));
    reap();
  }
}

void Supervisor::stop_workers() {
  is_stopping_ = true;
  board_->phase.set(Phase::stop);
  const Nanoseconds asked = now();
  while (is_any_left()) {
    const Waiters waiters = look();
    if (waiters.stranded > 0 && waiters.stranded == waiters.count) break;
    if (now() - asked > patience_at_the_end) {
      result_.failures.push_back("not all workers had ended 30 s after they were asked to");
      break;
    }
    wait_for_signal(now() + look_period_of_roll_call);
    reap();
  }
  kill_all();
}

// Takes the lock as everybody does, so that what the last victims left is recovered first.
void Supervisor::final_audit() {
  Visitor me(board_->lines[workers_lines()]);
  me.begin_to_wait();
  if (bank_.acquire(true, std::chrono::nanoseconds(FreeLockWatch::stranded_after))) {
    bank_.audit();
    bank_.release();
  } else {
    me.stop_waiting();
    ++result_.stranded_waiters;
    result_.failures.push_back("nobody is left, yet the supervisor could not get the lock within 2 s");
  }
  bank_.check_outside();
}

void Supervisor::collect() {
  result_.operations = total(&Line::operations);
  result_.timed_out = total(&Line::timed_out);
  result_.inherited = total(&Line::inherited);
  result_.recoveries = total(&Line::recoveries);
  result_.finished = total(&Line::finished);
  result_.undone = total(&Line::undone);
  result_.wrong_owners = total(&Line::wrong_owners);
  result_.longest_wait = std::max(result_.longest_wait, largest(&Line::longest_wait));
  result_.money_lost = largest(&Line::money_lost);
}

std::uint64_t Supervisor::total(Posted<std::uint64_t> Line::*field) const {
  std::uint64_t sum = 0;
  for (std::size_t line = 0; line <= workers_lines(); ++line) sum += (board_->lines[line].*field).read();
  return sum;
}

std::int64_t Supervisor::largest(Posted<std::int64_t> Line::*field) const {
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
  const Employment employment{
      bank_,   board_->phase, &line_of(worker, 0), options_.threads, options_.accounts, worker_random_(),
      getpid()};
  const pid_t pid = fork();
  if (pid == 0) work(employment);
  if (pid < 0)
    throw std::system_error(errno, std::system_category(),
                            "could not start a worker process; allow more processes, or ask for fewer");
  workers_[worker] = {pid, false};
}

// One kill falls into each period of 1/rate, at a random moment of it: exact in number, and in no step with
// anything else.
void Supervisor::schedule_next_kill() {
  if (options_.kills_per_second <= 0) return;
  const double part = std::uniform_real_distribution<>(0, 1)(kill_random_);
  const double after = (static_cast<double>(kills_scheduled_) + part) / options_.kills_per_second;
  ++kills_scheduled_;
  next_kill_ = after < options_.seconds
                   ? started_ + static_cast<Nanoseconds>(after * static_cast<double>(second))
                   : never;
  next_victim_ = std::uniform_int_distribution<std::uint32_t>(0, options_.processes - 1)(kill_random_);
}

// A kill may strand a waiter only until the next thread that comes along wakes it. So, many times a second,
// the roll is called around a kill: from then on nobody comes along. Before the kill or after it, since some
// windows open only while others come and go, and some while the waiters are let through.
void Supervisor::kill_if_due() {
  if (is_roll_call() || now() < next_kill_ || !is_any_alive()) return;
  const bool is_roll_due = now() >= next_roll_call_;
  const bool is_roll_first = std::bernoulli_distribution()(kill_random_);
  const auto pause = std::uniform_int_distribution<Nanoseconds>(0, millisecond)(kill_random_);
  if (is_roll_due && is_roll_first) {
    begin_roll_call();
    std::this_thread::sleep_for(std::chrono::nanoseconds(pause));
  }
  while (!workers_[next_victim_].is_alive()) next_victim_ = (next_victim_ + 1) % options_.processes;
  kill(workers_[next_victim_].pid, SIGKILL);
  workers_[next_victim_].is_killed = true;
  if (is_roll_due && !is_roll_first) begin_roll_call();
  schedule_next_kill();
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
    if (found == workers_.end()) continue;  // a child that we were started with
    const auto worker = static_cast<std::uint32_t>(found - workers_.begin());
    note_death(worker, status);
    if (!is_stopping_) start(worker);
  }
}

// All its threads are gone by now, and the kernel has freed the lock if one of them held it.
void Supervisor::note_death(std::uint32_t worker, int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
    ++result_.kills;
  else if (!is_stopping_ || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    result_.failures.push_back(describe(workers_[worker].pid, status));
  workers_[worker] = Worker{};
  for (std::uint32_t thread = 0; thread < options_.threads; ++thread) {
    line_of(worker, thread).tid.post(0);
    line_of(worker, thread).waiting_since.post(0);
  }
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
  watch_.look(now(), is_lock_free(), ledger_->visits.load(std::memory_order_relaxed));
  for (std::uint32_t worker = 0; worker < options_.processes; ++worker) {
    if (!workers_[worker].is_alive()) continue;
    for (std::uint32_t thread = 0; thread < options_.threads; ++thread) {
      const Nanoseconds since = line_of(worker, thread).waiting_since.read();
      if (since == 0) continue;
      ++waiters.count;
      waiters.longest = std::max(waiters.longest, now() - since);
      result_.longest_wait_while_free =
          std::max(result_.longest_wait_while_free, watch_.waited_while_free(since));
      if (is_stranded(worker * options_.threads + thread, workers_[worker], since)) ++waiters.stranded;
    }
  }
  result_.longest_wait = std::max(result_.longest_wait, waiters.longest);
  return waiters;
}

// Counts it, once.
bool Supervisor::is_stranded(std::uint32_t line, const Worker& worker, Nanoseconds waiting_since) {
  if (stranded_since_[line] == waiting_since) return true;
  if (watch_.waited_while_free(waiting_since) <= FreeLockWatch::stranded_after) return false;
  if (is_stopped_or_gone(worker.pid, board_->lines[line].tid.read())) return false;
  stranded_since_[line] = waiting_since;
  ++result_.stranded_waiters;
  return true;
}

// A lock whose owner is dead and buried is free as well, and ought to know it.
bool Supervisor::is_lock_free() const {
  const pid_t owner = const_cast<Bank&>(bank_).mutex().owner();
  if (owner == 0) return true;
  for (std::size_t line = 0; line < workers_lines(); ++line)
    if (board_->lines[line].tid.read() == owner) return false;
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
  const Nanoseconds next_look = now() + look_period;
  return is_any_alive() ? std::min(next_look, next_kill_) : next_look;
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
