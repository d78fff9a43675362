#include "stress/worker.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

namespace stress {
namespace {

using Whole = std::uniform_int_distribution<std::uint32_t>;

// What a forked child finds of the locks that its parent held. It may outlive its parent, who may be killed.
template <class Bank>
[[noreturn]] void live_as_a_child(const std::vector<Bank*>& held_by_parent, Scoreboard& board,
                                  Nanoseconds lifetime) noexcept {
  constexpr unsigned patience = 20;
  alarm(patience);  // it ends with nobody's help, and is missed then
  board.children_begun.fetch_add(1, std::memory_order_relaxed);
  for (Bank* bank : held_by_parent) {
    auto& lock = bank->mutex();
    bool is_refused = false;
    try {
      lock.release();
    } catch (const heirlock::AssertionError&) {
      is_refused = true;
    }
    if (!is_refused || lock.is_owned() || lock.depth() != 0 || lock.owner() == getpid())
      board.children_wrong.fetch_add(1, std::memory_order_relaxed);
  }
  const timespec time = as_timespec(lifetime);
  nanosleep(&time, nullptr);
  board.children_ended.fetch_add(1, std::memory_order_relaxed);
  _exit(0);
}

template <class Bank>
class Teller {
 public:
  enum class End { told_to_stop, leaves_while_holding };

  Teller(std::deque<Bank>& banks, const Employment& employment, std::uint32_t thread, std::uint64_t seed)
      : banks_(banks),
        employment_(employment),
        is_first_(thread == 0),
        visitor_(employment.lines[thread]),
        random_(seed),
        account_(0, employment.accounts - 1),
        other_account_(1, employment.accounts - 1),
        any_bank_(0, static_cast<std::uint32_t>(banks.size()) - 1),
        is_in_subset_(std::min(0.5, 4.0 / static_cast<double>(banks.size()))) {
    chosen_.reserve(banks.size());
  }

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
    const bool takes_several = banks_.size() > 1 && percent_(random_) < 50;
    takes_several ? visit_several() : visit_one();
    return End::told_to_stop;
  }

  // --- The usual business ----------------------------------------------------------------------------------

  // Every way to the lock that a user has, most often the one that waits.
  void visit_one() {
    Bank& bank = banks_[any_bank_(random_)];
    chosen_.assign(1, &bank);
    const Transfer order = draw_order();
    const std::uint32_t way = percent_(random_);
    visitor_.begin_to_wait(bank.number());
    if (way < 45)
      acquire_and_transfer(bank, order);
    else if (way < 55)
      try_to_transfer(bank, order);
    else if (way < 70)
      wait_a_while_and_transfer(bank, order);
    else if (way < 80)
      transfer_under_a_guard(bank, order);
    else if (way < 89)
      transfer(bank, order);
    else if (way < 98)
      there_and_back(bank, order);
    else
      audit(bank);
  }

  void acquire_and_transfer(Bank& bank, const Transfer& order) {
    if (bank.acquire()) {
      transfer_while_held(bank, order);
      bank.release();
    }
  }

  void try_to_transfer(Bank& bank, const Transfer& order) {
    if (bank.acquire(false)) {
      transfer_while_held(bank, order);
      bank.release();
    } else {
      visitor_.stop_waiting();
    }
  }

  // Returns whether time was over before.
  bool wait_a_while_and_transfer(Bank& bank, const Transfer& order) {
    const bool got_it = bank.acquire(true, std::chrono::microseconds(timeout_(random_)));
    if (got_it) {
      transfer_while_held(bank, order);
      bank.release();
    } else {
      visitor_.stop_waiting();
      visitor_.line.timed_out.add(1);
    }
    return !got_it;
  }

  void transfer_under_a_guard(Bank& bank, const Transfer& order) {
    const std::lock_guard<Bank> guard(bank);
    transfer_while_held(bank, order);
  }

  void there_and_back(Bank& bank, const Transfer& order) {
    heirlock::locked<&Bank::there_and_back>(&bank, order);
    visitor_.line.operations.add(1);
  }

  void audit(Bank& bank) {
    heirlock::locked<&Bank::audit>(&bank);
    visitor_.line.operations.add(1);
  }

  void transfer(Bank& bank, const Transfer& order) {
    bank.transfer(order);
    visitor_.line.operations.add(1);
  }

  void transfer_while_held(Bank& bank, const Transfer& order) {
    const typename Bank::Visit visit(bank);
    transfer(bank, order);
  }

  // --- Several locks at a time -----------------------------------------------------------------------------

  // In the order of their numbers, so that nobody waits in a circle.
  void choose_banks() {
    chosen_.clear();
    for (Bank& bank : banks_)
      if (is_in_subset_(random_)) chosen_.push_back(&bank);
    if (chosen_.empty()) chosen_.push_back(&banks_[any_bank_(random_)]);
  }

  void visit_several() {
    choose_banks();
    hold_from(0, false);
  }

  // Takes those chosen from there on, if it gets each, and gives them back in the opposite order.
  void hold_from(std::size_t next, bool is_to_fork) {
    if (next == chosen_.size()) {
      if (is_to_fork) fork_a_child();
      return;
    }
    Bank& bank = *chosen_[next];
    if (!acquire_somehow(bank, is_to_fork)) return;
    {
      const typename Bank::Visit visit(bank);
      transfer(bank, draw_order());
      hold_from(next + 1, is_to_fork);
    }
    bank.release();
  }

  bool acquire_somehow(Bank& bank, bool is_needed) {
    const std::uint32_t way = is_needed ? 0 : percent_(random_);
    visitor_.begin_to_wait(bank.number());
    if (way < 70) return bank.acquire();
    const bool got_it =
        way < 80 ? bank.acquire(false) : bank.acquire(true, std::chrono::microseconds(timeout_(random_)));
    if (got_it) return true;
    visitor_.stop_waiting();
    if (way >= 80) visitor_.line.timed_out.add(1);
    return false;
  }

  // --- Faults on order -------------------------------------------------------------------------------------

  End commit(Fault fault) {
    choose_banks();
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
        hold_from(0, true);
        break;
      case Fault::timeout:
        if (wait_in_vain()) note(fault);
        break;
      case Fault::kill:
      case Fault::stop:
      case Fault::signal:
        break;  // those are the supervisor's own
    }
    return End::told_to_stop;
  }

  void note(Fault fault) { visitor_.line.faults[index_of(fault)].add(1); }

  // Takes what was chosen and leaves each bank with a transfer half-done.
  void abandon() {
    for (Bank* bank : chosen_) {
      visitor_.begin_to_wait(bank->number());
      bank->abandon_transfer(draw_order(), stores_(random_));
    }
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

  void fork_a_child() {
    const Nanoseconds lifetime = lifetime_(random_) * microsecond;
    const pid_t pid = fork();
    if (pid == 0) live_as_a_child(chosen_, employment_.board, lifetime);
    if (pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  }

  bool wait_in_vain() {
    constexpr int most_tries = 100;
    for (int tries = 0; tries < most_tries; ++tries) {
      visitor_.begin_to_wait(chosen_[0]->number());
      if (wait_a_while_and_transfer(*chosen_[0], draw_order())) return true;
    }
    return false;
  }

  Transfer draw_order() {
    const std::uint32_t payer = account_(random_);
    const std::uint32_t payee = (payer + other_account_(random_)) % (account_.max() + 1);
    return {payer, payee, amount_(random_)};
  }

  std::deque<Bank>& banks_;
  const Employment& employment_;
  const bool is_first_;
  Visitor visitor_;
  std::mt19937_64 random_;
  std::vector<Bank*> chosen_;  // what the last visit was to
  Whole account_;
  Whole other_account_;  // how far from the first
  Whole any_bank_;
  std::bernoulli_distribution is_in_subset_;
  Whole percent_{0, 99};
  Whole timeout_{0, 1000};
  Whole stores_{0, 3};
  Whole lifetime_{0, 20'000};  // microseconds
  std::uniform_int_distribution<Money> amount_{1, 2 * Ledger::opening_balance};
};

// The threads of a worker. Who leaves starts a successor, so that there are always as many; and since who
// leaves holds locks, its successor waits for its end, as it takes over its line.
template <class Bank>
class Staff {
 public:
  Staff(std::deque<Bank>& banks, const Employment& employment) : banks_(banks), employment_(employment) {}

  void work() noexcept {
    try {
      for (std::uint32_t thread = 1; thread < employment_.threads; ++thread)
        start(thread, employment_.seed + thread, std::nullopt);
    } catch (const std::exception& error) {
      give_up("cannot start its threads", error);
    }
    serve(0, employment_.seed);
    std::unique_lock<std::mutex> guard(mutex_);
    one_ended_.wait(guard, [this] { return ended_.size() + 1 == employment_.threads; });
    for (const pthread_t thread : ended_) pthread_join(thread, nullptr);
  }

 private:
  struct Shift {
    Staff& staff;
    std::uint32_t thread;
    std::uint64_t seed;
    std::optional<pthread_t> predecessor;
  };

  void start(std::uint32_t thread, std::uint64_t seed, std::optional<pthread_t> predecessor) {
    auto shift = std::make_unique<Shift>(Shift{*this, thread, seed, predecessor});
    pthread_t id{};
    const int error = pthread_create(&id, nullptr, run, shift.get());
    if (error != 0) throw std::system_error(error, std::system_category(), "pthread_create");
    static_cast<void>(shift.release());
  }

  static void* run(void* argument) noexcept {
    const std::unique_ptr<Shift> shift(static_cast<Shift*>(argument));
    if (shift->predecessor) pthread_join(*shift->predecessor, nullptr);
    shift->staff.serve(shift->thread, shift->seed);
    return nullptr;
  }

  // Ends the whole process on an exception: one thread less would look like a quiet success.
  void serve(std::uint32_t thread, std::uint64_t seed) noexcept {
    try {
      Teller<Bank> teller(banks_, employment_, thread, seed);
      if (teller.serve() == Teller<Bank>::End::leaves_while_holding)
        start(thread, seed + most_threads, pthread_self());
      else if (thread != 0)
        note_end();
    } catch (const std::exception& error) {
      give_up("ended with the exception", error);
    }
  }

  void note_end() {
    const std::lock_guard<std::mutex> guard(mutex_);
    ended_.push_back(pthread_self());
    one_ended_.notify_all();
  }

  [[noreturn]] static void give_up(const char* what, const std::exception& error) noexcept {
    std::fprintf(stderr, "heirlock-stress: a worker %s: %s\n", what, error.what());
    _exit(3);
  }

  std::deque<Bank>& banks_;
  const Employment& employment_;
  std::mutex mutex_;
  std::condition_variable one_ended_;
  std::vector<pthread_t> ended_;  // without a successor, who would have waited for the end
};

// Among hundreds of threads that all want to run, the supervisor would come late for its kills, by seconds
// where the machine has other work as well.
void yield_to_the_supervisor() noexcept {
  setpriority(PRIO_PROCESS, 0, 10);
}

}  // namespace

template <class Bank>
void work(std::deque<Bank>& banks, const Employment& employment) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != employment.supervisor) _exit(0);  // it died before that
  signal(SIGCHLD, SIG_IGN);                          // its children are buried by the kernel
  yield_to_the_supervisor();
  Staff<Bank>(banks, employment).work();
  _exit(0);
}

template void work(std::deque<BankOf<heirlock::Lockable>>&, const Employment&) noexcept;
template void work(std::deque<BankOf<Substitute>>&, const Employment&) noexcept;

void after_exec(const char* microseconds) noexcept {
  const timespec time = as_timespec(std::atoll(microseconds) * microsecond);
  nanosleep(&time, nullptr);
  _exit(left_on_order);
}

}  // namespace stress
