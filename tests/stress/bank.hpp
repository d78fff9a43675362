// A bank: a ledger and its lock. Each method runs under the lock, and locked methods call each other.
#ifndef HEIRLOCK_TESTS_STRESS_BANK_HPP
#define HEIRLOCK_TESTS_STRESS_BANK_HPP

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "heirlock/shared.hpp"
#include "stress/lock.hpp"
#include "stress/options.hpp"
#include "stress/scoreboard.hpp"

namespace stress {

/// A value in shared memory that stays usable when its writer is killed between any two stores.
///
/// A killed thread stops between two machine instructions: everything before that point has happened, in the
/// order of its program, and nothing after it has. The kernel frees the lock later, in the same thread, with
/// a barrier, and the heir's acquire pairs with that: the heir sees all the dead thread's stores or, of those
/// after the kill, none. So no order between processors is needed here, only that the compiler neither moves
/// a store past another, nor splits, merges or drops one. That is what volatile and the fences are for; not
/// std::atomic, so that ThreadSanitizer sees plain accesses and can tell when the lock does not exclude.
template <class T>
class Durable {
 public:
  Durable() noexcept = default;
  T load() const noexcept { return *static_cast<const volatile T*>(&value_); }
  void store(T value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *static_cast<volatile T*>(&value_) = value;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

 private:
  static_assert(sizeof(T) <= sizeof(std::int64_t), "a larger value is stored by several instructions");
  T value_{};
};

using Money = std::int64_t;

/// How far the transfer in the journal has come, and so what an heir has to do about it.
enum class Stage : std::uint32_t {
  none,       // no transfer is under way: nothing
  prepared,   // the journal is complete; the payer's account may have changed: undo
  withdrawn,  // the payer's account has changed, the payee's may have: finish
};

/// Holds only absolute balances, so that carrying it out twice is the same as once: an heir may be killed
/// half-way as well. It counts from the store of `stage` on, which is made last and withdrawn first.
struct Journal {
  Durable<Stage> stage;
  Durable<std::uint32_t> payer;
  Durable<std::uint32_t> payee;
  Durable<Money> payer_before;
  Durable<Money> payee_after;
};

struct Ledger {
  static constexpr Money opening_balance = 1000;

  explicit Ledger(std::uint32_t accounts) noexcept : size(accounts), total(accounts * opening_balance) {
    for (std::uint32_t account = 0; account < accounts; ++account) balances[account].store(opening_balance);
  }

  const std::uint32_t size;
  const Money total;  // what the balances must add up to whenever nobody holds the lock
  Journal journal;
  /// The ticket of the visitor, 0 if there is none: the workers' own record, to compare with the lock's.
  Durable<std::uint64_t> inside;
  /// How many visits began. Written under the lock; the supervisor reads it without.
  std::atomic<std::uint64_t> visits{0};
  Durable<Money> balances[most_accounts];
};

struct Transfer {
  std::uint32_t payer;
  std::uint32_t payee;  // another account
  Money amount;
};

/// The calling thread, as the banks know it. A thread makes one before it uses a bank.
class Visitor {
 public:
  explicit Visitor(Line& line) noexcept;
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  ~Visitor();

  void begin_to_wait(std::uint32_t bank) noexcept;
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

class Bank {
 public:
  /// Visitors tell the banks apart by their numbers.
  Bank(LockKind kind, std::uint32_t accounts, std::uint32_t number = 0);

  /// Holds the lock for a scope. Checks at both ends that the lock and the ledger agree on who is inside.
  class Visit {
   public:
    explicit Visit(Bank& bank, Patience patience = std::nullopt);
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() noexcept(false);
    /// Whether it got the lock in time.
    explicit operator bool() const { return is_inside_; }

   private:
    Bank& bank_;
    const bool is_inside_;
  };

  /// Returns false if the payer has not enough.
  bool transfer(const Transfer& order);
  /// Moves the money and moves it back.
  void there_and_back(const Transfer& order);
  /// Returns by how much the sum of the balances is wrong, and posts it.
  Money audit();
  /// Acquires the lock and leaves a transfer half-done, at a stage that depends on `stores`: for a thread
  /// that ends without releasing the lock.
  void abandon_transfer(const Transfer& order, std::uint32_t stores);

  /// For a thread that should not hold the lock.
  void check_outside() noexcept;

  Lock& lock() const noexcept { return *lock_; }
  Ledger& ledger() const noexcept { return *ledger_; }

 private:
  bool acquire(Patience patience);
  void recover();
  void enter() noexcept;
  void leave() noexcept;
  void prepare(const Transfer& order) noexcept;
  bool withdraw(std::uint32_t account, Money amount);
  void deposit(std::uint32_t account, Money amount);
  void set_balance(std::uint32_t account, Money balance);
  void check_inside() noexcept;
  void linger_at_times() noexcept;

  const heirlock::Shared<Ledger> ledger_;
  const std::uint32_t number_;
  const std::unique_ptr<Lock> lock_;
};

}  // namespace stress
#endif
