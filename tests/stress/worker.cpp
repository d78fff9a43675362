#include "stress/worker.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace stress {
namespace {

class Teller {
 public:
  Teller(const Employment& employment, std::uint32_t thread)
      : bank_(employment.bank),
        phase_(employment.phase),
        visitor_(employment.lines[thread]),
        random_(employment.seed + thread),
        account_(0, employment.accounts - 1),
        other_account_(1, employment.accounts - 1) {}

  void serve() {
    for (;;) {
      switch (phase_.read()) {
        case Phase::roll_call:
          phase_.wait_while(Phase::roll_call);
          break;
        case Phase::work:
          serve_once();
          bank_.check_outside();
          break;
        case Phase::stop:
          return;
      }
    }
  }

 private:
  // Every way to the lock that a user has, most often the one that waits.
  void serve_once() {
    const Transfer order = draw_order();
    const std::uint32_t way = percent_(random_);
    visitor_.begin_to_wait();
    if (way < 45)
      acquire_and_transfer(order);
    else if (way < 55)
      try_to_transfer(order);
    else if (way < 70)
      wait_a_while_and_transfer(order);
    else if (way < 80)
      transfer_under_a_guard(order);
    else if (way < 89)
      transfer(order);
    else if (way < 98)
      there_and_back(order);
    else
      audit();
  }

  void acquire_and_transfer(const Transfer& order) {
    if (bank_.acquire()) {
      transfer_while_held(order);
      bank_.release();
    }
  }

  void try_to_transfer(const Transfer& order) {
    if (bank_.acquire(false)) {
      transfer_while_held(order);
      bank_.release();
    } else {
      visitor_.stop_waiting();
    }
  }

  void wait_a_while_and_transfer(const Transfer& order) {
    if (bank_.acquire(true, std::chrono::microseconds(timeout_(random_)))) {
      transfer_while_held(order);
      bank_.release();
    } else {
      visitor_.stop_waiting();
      visitor_.line.timed_out.add(1);
    }
  }

  void transfer_under_a_guard(const Transfer& order) {
    const std::lock_guard<Bank> guard(bank_);
    transfer_while_held(order);
  }

  void there_and_back(const Transfer& order) {
    heirlock::locked<&Bank::there_and_back>(bank_, order);
    visitor_.line.operations.add(1);
  }

  void audit() {
    heirlock::locked<&Bank::audit>(bank_);
    visitor_.line.operations.add(1);
  }

  void transfer(const Transfer& order) {
    bank_.transfer(order);
    visitor_.line.operations.add(1);
  }

  void transfer_while_held(const Transfer& order) {
    const Bank::Visit visit(bank_);
    transfer(order);
  }

  Transfer draw_order() {
    const std::uint32_t payer = account_(random_);
    const std::uint32_t payee = (payer + other_account_(random_)) % (account_.max() + 1);
    return {payer, payee, amount_(random_)};
  }

  using Whole = std::uniform_int_distribution<std::uint32_t>;

  Bank& bank_;
  const PhaseSign& phase_;
  Visitor visitor_;
  std::mt19937_64 random_;
  Whole account_;
  Whole other_account_;  // how far from the first
  Whole percent_{0, 99};
  Whole timeout_{0, 1000};
  std::uniform_int_distribution<Money> amount_{1, 2 * Ledger::opening_balance};
};

// Ends the whole process on an exception: one thread less would look like a quiet success.
void serve(const Employment& employment, std::uint32_t thread) noexcept {
  try {
    Teller(employment, thread).serve();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heirlock-stress: a worker ended by the exception: %s\n", error.what());
    _exit(3);
  }
}

// Among hundreds of threads that all want to run, the supervisor would come late for its kills, by seconds
// where the machine has other work as well.
void yield_to_the_supervisor() noexcept {
  static_cast<void>(nice(10));
}

}  // namespace

void work(const Employment& employment) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != employment.supervisor) _exit(0);  // it died before that
  yield_to_the_supervisor();
  std::vector<std::thread> threads;
  try {
    for (std::uint32_t thread = 1; thread < employment.threads; ++thread)
      threads.emplace_back(serve, std::cref(employment), thread);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heirlock-stress: a worker could not start its threads: %s\n", error.what());
    _exit(3);
  }
  serve(employment, 0);
  for (std::thread& thread : threads) thread.join();
  _exit(0);
}

}  // namespace stress
