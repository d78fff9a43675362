// A bank: a ledger behind a Lockable whose locked methods call each other.
#ifndef HEIRLOCK_TESTS_STRESS_BANK_HPP
#define HEIRLOCK_TESTS_STRESS_BANK_HPP

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <utility>

#include "heirlock/lockable.hpp"
#include "stress/ledger.hpp"
#include "stress/scoreboard.hpp"
#include "stress/substitute.hpp"

namespace stress {

struct Transfer {
  std::uint32_t payer;
  std::uint32_t payee;
  Money amount;
};

/// The calling thread, as the banks know it: to be made before it uses one, one a thread.
class Visitor {
 public:
  explicit Visitor(Line& line) noexcept;
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  ~Visitor();

  /// To be called before every attempt at a bank's lock, with the bank's number.
  void begin_to_wait(std::uint32_t bank = 0) noexcept {
    line.waiting_for.post(bank);
    line.waiting_since.post(now());
  }
  /// To be called when it failed; a Visit does so when it succeeded.
  void stop_waiting() noexcept;

  Line& line;
  const pid_t tid;
  std::uint64_t ticket;     // never 0; another one for each visit
  std::uint32_t steps = 0;  // of transfers

  struct Standing {
    std::uint32_t depth = 0;   // how often this thread should hold the lock
    std::uint64_t ticket = 0;  // of its visit
  };
  std::array<Standing, most_locks> at;  // each bank
};

/// Base is heirlock::Lockable, or has its interface.
template <class Base>
class BankOf : public Base {
 public:
  /// `number` tells it from the others that a Visitor knows.
  template <class... ForBase>
  explicit BankOf(Ledger& ledger, std::uint32_t number = 0, ForBase&&... for_base)
      : Base(std::forward<ForBase>(for_base)...), ledger_(ledger), number_(number) {}

  /// The time from just after an acquire until just before its release. Checks at both ends that the lock and
  /// the ledger agree on who is inside.
  class Visit {
   public:
    explicit Visit(BankOf& bank) noexcept : bank_(bank) { bank_.enter(); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() { bank_.leave(); }

   private:
    BankOf& bank_;
  };

  /// Moves the money; returns false if the payer has not enough. The two accounts differ.
  bool transfer(const Transfer& order);

  /// Takes the lock and leaves a transfer half-done, at a stage that depends on `stores`: for a thread that
  /// is going to end without giving the lock back.
  void abandon_transfer(const Transfer& order, std::uint32_t stores);

  // The following are not locked by themselves: call them as heirlock::locked<&Bank::...>(&bank).

  /// Moves the money and moves it back.
  void there_and_back(const Transfer& order);
  /// Returns what the balances add up to less what they should, and posts it if that is not 0.
  Money audit();

  /// To be called by a thread that should not hold the lock.
  void check_outside() noexcept;

  std::uint32_t number() const noexcept { return number_; }

 protected:
  /// Finishes or undoes the transfer during which the last owner died.
  void recover() override;

 private:
  void enter() noexcept;
  void leave() noexcept;
  void prepare(const Transfer& order) noexcept;
  bool withdraw(std::uint32_t account, Money amount);
  void deposit(std::uint32_t account, Money amount);
  void set_balance(std::uint32_t account, Money balance);
  void check_inside() noexcept;
  void linger_at_times() noexcept;

  Ledger& ledger_;
  const std::uint32_t number_;
};

extern template class BankOf<heirlock::Lockable>;
extern template class BankOf<Substitute>;
using Bank = BankOf<heirlock::Lockable>;

}  // namespace stress
#endif
