// What the workers share under the lock: accounts, and a journal for the transfer under way.
#ifndef HEIRLOCK_TESTS_STRESS_LEDGER_HPP
#define HEIRLOCK_TESTS_STRESS_LEDGER_HPP

#include <atomic>
#include <cstdint>

#include "stress/options.hpp"

namespace stress {

/// A value that outlives a writer who is killed between any two of its stores.
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
  /// The ticket of whoever is inside, 0 when nobody is: the workers' own record, which they compare with what
  /// the lock says.
  Durable<std::uint64_t> inside;
  /// How often somebody came in. Written under the lock; the supervisor reads it without.
  std::atomic<std::uint64_t> visits{0};
  Durable<Money> balances[most_accounts];
};

}  // namespace stress
#endif
