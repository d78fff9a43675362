// The bank: the ledger behind a Lockable whose locked methods call each other.
#ifndef HEIRLOCK_TESTS_STRESS_BANK_HPP
#define HEIRLOCK_TESTS_STRESS_BANK_HPP

#include <sys/types.h>

#include <cstdint>

#include "heirlock/lockable.hpp"
#include "stress/ledger.hpp"
#include "stress/scoreboard.hpp"

namespace stress {

struct Transfer {
  std::uint32_t payer;
  std::uint32_t payee;
  Money amount;
};

/// The calling thread, as the bank knows it: to be made before it uses the bank, one a thread.
class Visitor {
 public:
  explicit Visitor(Line& line) noexcept;
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  ~Visitor();

  /// To be called before every attempt at the lock.
  void begin_to_wait() noexcept { line.waiting_since.post(now()); }
  /// To be called when it failed; a Visit does so when it succeeded.
  void stop_waiting() noexcept;

  Line& line;
  const pid_t tid;
  std::uint64_t ticket;     // never 0; another one for each visit
  std::uint32_t depth = 0;  // how often this thread should hold the lock
  std::uint32_t steps = 0;  // of transfers
};

class Bank : public heirlock::Lockable {
 public:
  explicit Bank(Ledger& ledger) noexcept(false) : ledger_(ledger) {}

  /// The time from just after an acquire until just before its release. Checks at both ends that the lock and
  /// the ledger agree on who is inside.
  class Visit {
   public:
    explicit Visit(Bank& bank) noexcept;
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit();

   private:
    Bank& bank_;
  };

  /// Moves the money; returns false if the payer has not enough. The two accounts differ.
  bool transfer(const Transfer& order);

  // The following are not locked by themselves: call them as heirlock::locked<&Bank::...>.

  /// Moves the money and moves it back.
  void there_and_back(const Transfer& order);
  /// Returns what the balances add up to less what they should, and posts it if that is not 0.
  Money audit();

  /// To be called by a thread that should not hold the lock.
  void check_outside() noexcept;

 protected:
  /// Finishes or undoes the transfer during which the last owner died.
  void recover() override;

 private:
  bool withdraw(std::uint32_t account, Money amount);
  void deposit(std::uint32_t account, Money amount);
  void set_balance(std::uint32_t account, Money balance);
  void check_inside() noexcept;
  void linger_at_times() noexcept;

  Ledger& ledger_;
};

}  // namespace stress
#endif
