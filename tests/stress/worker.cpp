#include "stress/worker.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "heirlock/error.hpp"

namespace stress {
namespace {

using Whole = std::uniform_int_distribution<std::uint32_t>;

// A forked child tries to release the locks that its parent held. It may outlive its parent.
[[noreturn]] void live_as_a_child(const std::vector<Bank*>& held_by_parent, Scoreboard& board,
                                  Nanoseconds lifetime) noexcept {
  constexpr unsigned patience = 20;
  alarm(patience);  // nobody else would end a child that hangs; the supervisor notices that one is missing
  board.children_begun.fetch_add(1, std::memory_order_relaxed);
  for (Bank* bank : held_by_parent) {
    Lock& lock = bank->lock();
    bool is_refused = false;
    try {
      lock.release();
    } catch (const heirlock::AssertionError&) {
      is_refused = true;
    }
    if (!is_refused || lock.depth() != 0 || lock.owner() == getpid())
      board.children_wrong.fetch_add(1, std::memory_order_relaxed);
  }
  sleep_until(now() + lifetime);
  board.children_ended.fetch_add(1, std::memory_order_relaxed);
  _exit(0);
}

// One thread.
class Teller {
 public:
  enum class End { told_to_stop, leaves_while_holding };

  Teller(std::deque<Bank>& banks, const Employment& employment, std::uint32_t thread, std::uint64_t seed)
      : banks_(banks),
        employment_(employment),
        is_first_(thread == 0),
        visitor_(employment.lines[thread]),
        random_(seed),
        accounts_(banks.front().ledger().size),
        any_bank_(0, banks.size() - 1),
        is_in_subset_(std::min(0.5, 4.0 / static_cast<double>(banks.size()))) {}

  End serve() {
    const PhaseSign& phase = employment_.board.phase;
    for (;;) {
      switch (phase.read()) {
        case Phase::roll_call:
          phase.wait_while(Phase::roll_call);
          break;
        case Phase::work:
          visitor_.line.is_busy.post(true);
          if (serve_once() == End::leaves_while_holding) return End::leaves_while_holding;
          for (Bank* bank : chosen_) bank->check_outside();
          visitor_.line.is_busy.post(false);
          break;
        case Phase::stop:
          return End::told_to_stop;
      }
    }
  }

 private:
  End serve_once() {
    const std::uint32_t ordered = visitor_.line.ordered.read();
    if (ordered != 0) {
      visitor_.line.ordered.post(0);
      return commit(static_cast<Fault>(ordered - 1));
    }
    choose_banks(0.5);
    visit_from(0);
    return End::told_to_stop;
  }

  // --- The usual business ----------------------------------------------------------------------------------

  // A random subset of the banks with this probability, otherwise one bank.
  void choose_banks(double probability) {
    chosen_.clear();
    if (banks_.size() > 1 && std::bernoulli_distribution(probability)(random_))
      for (Bank& bank : banks_)
        if (is_in_subset_(random_)) chosen_.push_back(&bank);
    if (chosen_.empty()) chosen_.push_back(&banks_[banks_.size() > 1 ? any_bank_(random_) : 0]);
  }

  // Holds all chosen banks from there on at once, unless a wait ends before. In the order of their numbers,
  // so that nobody waits in a circle.
  void visit_from(std::size_t next) {
    if (next == chosen_.size()) return;
    Bank& bank = *chosen_[next];
    const Bank::Visit visit(bank, draw_patience());
    if (!visit) return;
    do_business(bank);
    visit_from(next + 1);
  }

  Patience draw_patience() {
    const std::uint32_t way = percent_(random_);
    if (way < 75) return std::nullopt;
    return way < 85 ? 0 : draw_timeout();
  }

  void do_business(Bank& bank) {
    const std::uint32_t kind = percent_(random_);
    if (kind < 89)
      bank.transfer(draw_order());
    else if (kind < 98)
      bank.there_and_back(draw_order());
    else
      bank.audit();
    visitor_.line.operations.add(1);
  }

  Nanoseconds draw_timeout() { return (1 + timeout_(random_)) * microsecond; }

  Transfer draw_order() {
    const std::uint32_t payer = Whole(0, accounts_ - 1)(random_);
    const std::uint32_t payee = (payer + Whole(1, accounts_ - 1)(random_)) % accounts_;
    return {payer, payee, amount_(random_)};
  }

  // --- Faults on order -------------------------------------------------------------------------------------

  End commit(Fault fault) {
    choose_banks(1);
    switch (fault) {
      case Fault::exit:
        abandon();
        note(fault);
        if (is_first_) leave_by_exit();
        return End::leaves_while_holding;
      case Fault::exec:
      case Fault::exec_thread:
        abandon();
        note(fault);
        leave_by_exec();
      case Fault::fork:
        note(fault);
        fork_from(0);
        break;
      case Fault::timeout:
        if (wait_in_vain()) note(fault);
        break;
      case Fault::kill:
      case Fault::stop:
      case Fault::signal:
        break;  // the supervisor's own
    }
    return End::told_to_stop;
  }

  void note(Fault fault) { visitor_.line.faults[index_of(fault)].add(1); }

  // Acquires each chosen lock and leaves each transfer half-done.
  void abandon() {
    for (Bank* bank : chosen_) bank->abandon_transfer(draw_order(), Whole(0, 3)(random_));
  }

  [[noreturn]] void leave_by_exit() {
    employment_.lines[0].is_leaving.post(true);
    _exit(left_on_order);
  }

  [[noreturn]] void leave_by_exec() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);  // the handlers do not outlive exec
    employment_.lines[0].is_leaving.post(true);
    std::string lifetime = std::to_string(lifetime_(random_));
    std::string name = name_after_exec;
    char* const arguments[] = {name.data(), lifetime.data(), nullptr};
    execv("/proc/self/exe", arguments);
    std::perror("heirlock-stress: exec");
    _exit(3);
  }

  // Forks while it holds all chosen locks from there on.
  void fork_from(std::size_t next) {
    if (next < chosen_.size()) {
      const Bank::Visit visit(*chosen_[next]);
      chosen_[next]->transfer(draw_order());
      return fork_from(next + 1);
    }
    const Nanoseconds lifetime = lifetime_(random_) * microsecond;
    const pid_t pid = fork();
    if (pid == 0) live_as_a_child(chosen_, employment_.board, lifetime);
    if (pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  }

  bool wait_in_vain() {
    for (int tries = 0; tries < 1000; ++tries)
      if (!Bank::Visit(*chosen_[0], draw_timeout())) return true;
    return false;
  }

  std::deque<Bank>& banks_;
  const Employment& employment_;
  const bool is_first_;
  Visitor visitor_;
  std::mt19937_64 random_;
  std::vector<Bank*> chosen_;  // for the last visit
  const std::uint32_t accounts_;
  std::uniform_int_distribution<std::size_t> any_bank_;
  std::bernoulli_distribution is_in_subset_;
  Whole percent_{0, 99};
  Whole timeout_{0, 1000};     // microseconds
  Whole lifetime_{0, 20'000};  // microseconds
  std::uniform_int_distribution<Money> amount_{1, 2 * Ledger::opening_balance};
};

// The threads of a worker. A thread that leaves starts a successor, so that there are always as many.
class Staff {
 public:
  Staff(std::deque<Bank>& banks, const Employment& employment) : banks_(banks), employment_(employment) {}

  void work() {
    for (std::uint32_t thread = 1; thread < employment_.threads; ++thread)
      start(thread, employment_.seed + thread);
    serve(0, employment_.seed);
    std::unique_lock<std::mutex> guard(mutex_);
    one_ended_.wait(guard, [this] { return ended_ == employment_.threads; });
  }

 private:
  // A busy system may refuse a thread for a moment (pthread_create(3), EAGAIN).
  void start(std::uint32_t thread, std::uint64_t seed) {
    for (int refused = 0;; ++refused) {
      try {
        std::thread([this, thread, seed] { serve(thread, seed); }).detach();
        return;
      } catch (const std::system_error& error) {
        if (error.code() != std::errc::resource_unavailable_try_again || refused == 1000) throw;
        sleep_until(now() + 10 * millisecond);
      }
    }
  }

  // Ends the whole process on an exception: one thread less would look like a quiet success.
  void serve(std::uint32_t thread, std::uint64_t seed) noexcept {
    try {
      const auto end = Teller(banks_, employment_, thread, seed).serve();
      if (end == Teller::End::leaves_while_holding) return start(thread, seed + most_threads);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "heirlock-stress: a worker ended with the exception: %s\n", error.what());
      _exit(3);
    }
    const std::lock_guard<std::mutex> guard(mutex_);
    ++ended_;
    one_ended_.notify_all();
  }

  std::deque<Bank>& banks_;
  const Employment& employment_;
  std::mutex mutex_;
  std::condition_variable one_ended_;
  std::uint32_t ended_ = 0;
};

}  // namespace

void work(std::deque<Bank>& banks, const Employment& employment) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != employment.supervisor) _exit(0);  // it died before that
  signal(SIGCHLD, SIG_IGN);                          // the kernel reaps its children
  // Among hundreds of threads that all want to run, the supervisor would come seconds too late for its kills.
  setpriority(PRIO_PROCESS, 0, 10);
  try {
    Staff(banks, employment).work();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heirlock-stress: a worker cannot start its threads: %s\n", error.what());
    _exit(3);
  }
  _exit(0);
}

void after_exec(const char* microseconds) noexcept {
  sleep_until(now() + std::atoll(microseconds) * microsecond);
  _exit(left_on_order);
}

}  // namespace stress
