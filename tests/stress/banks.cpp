#include "stress/banks.hpp"

#include <deque>

#include "heirlock/shared.hpp"
#include "stress/bank.hpp"

namespace stress {
namespace {

template <class Base>
class BanksOf : public Banks {
 public:
  template <class... ForBase>
  explicit BanksOf(const Options& options, const ForBase&... for_base) {
    for (std::uint32_t number = 0; number < options.locks; ++number) {
      ledgers_.emplace_back(options.accounts);
      banks_.emplace_back(*ledgers_.back(), number, for_base...);
    }
  }

  pid_t owner(std::uint32_t bank) override { return banks_[bank].mutex().owner(); }

  std::uint64_t visits(std::uint32_t bank) override {
    return ledgers_[bank]->visits.load(std::memory_order_relaxed);
  }

  bool audit(std::uint32_t number, std::chrono::nanoseconds patience) override {
    BankOf<Base>& bank = banks_[number];
    const bool got_it = bank.acquire(true, patience);
    if (got_it) {
      bank.audit();
      bank.release();
    }
    bank.check_outside();
    return got_it;
  }

  void employ(const Employment& employment) noexcept override { work(banks_, employment); }

 private:
  std::deque<heirlock::Shared<Ledger>> ledgers_;
  std::deque<BankOf<Base>> banks_;
};

}  // namespace

std::unique_ptr<Banks> make_banks(const Options& options) {
  if (options.lock == LockKind::heirlock) return std::make_unique<BanksOf<heirlock::Lockable>>(options);
  return std::make_unique<BanksOf<Substitute>>(options, options.lock);
}

}  // namespace stress
