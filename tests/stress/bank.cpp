#include "stress/bank.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

namespace stress {
namespace {

thread_local Visitor* this_visitor = nullptr;

}  // namespace

Visitor::Visitor(Line& line_of_thread) noexcept
    : line(line_of_thread),
      tid(static_cast<pid_t>(syscall(SYS_gettid))),
      ticket(static_cast<std::uint64_t>(tid) << 32) {
  line.waiting_since.post(0);  // one who was killed here may have left its own
  line.is_busy.post(false);
  line.tid.post(tid);
  this_visitor = this;
}

Visitor::~Visitor() {
  this_visitor = nullptr;
}

void Visitor::stop_waiting() noexcept {
  const Nanoseconds since = line.waiting_since.read();
  if (since == 0) return;
  line.waiting_since.post(0);
  const Nanoseconds wait = now() - since;
  line.longest_wait.raise_to(wait);
  line.waits[range_of_wait(wait)].add(1);
}

template <class Base>
void BankOf<Base>::enter() noexcept {
  Visitor& me = *this_visitor;
  Visitor::Standing& here = me.at[number_];
  if (++here.depth == 1) {
    me.stop_waiting();
    if (ledger_.inside.load() != 0) me.line.wrong_owners.add(1);
    here.ticket = ++me.ticket;
    ledger_.inside.store(here.ticket);
    ledger_.visits.store(ledger_.visits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  check_inside();
}

template <class Base>
void BankOf<Base>::leave() noexcept {
  check_inside();
  if (--this_visitor->at[number_].depth == 0) ledger_.inside.store(0);
}

template <class Base>
void BankOf<Base>::check_inside() noexcept {
  const Visitor& me = *this_visitor;
  const Visitor::Standing& here = me.at[number_];
  auto& lock = this->mutex();
  const bool right = lock.is_owned() && lock.owner() == me.tid && lock.depth() == here.depth &&
                     ledger_.inside.load() == here.ticket;
  if (!right) me.line.wrong_owners.add(1);
}

template <class Base>
void BankOf<Base>::check_outside() noexcept {
  const Visitor& me = *this_visitor;
  auto& lock = this->mutex();
  if (lock.is_owned() || lock.owner() == me.tid || lock.depth() != 0) me.line.wrong_owners.add(1);
}

// A transfer takes less than a microsecond; without this, hardly a kill would find one half-done.
template <class Base>
void BankOf<Base>::linger_at_times() noexcept {
  constexpr std::uint32_t seldom = 1021;  // a prime, so that it is each step's turn
  if (++this_visitor->steps % seldom == 0) sched_yield();
}

template <class Base>
bool BankOf<Base>::transfer(const Transfer& order) {
  return this->locked([&] {
    const Visit visit(*this);
    Journal& journal = ledger_.journal;
    prepare(order);
    linger_at_times();
    const bool enough = withdraw(order.payer, order.amount);
    if (enough) {
      linger_at_times();
      journal.stage.store(Stage::withdrawn);
      linger_at_times();
      deposit(order.payee, order.amount);
    }
    linger_at_times();
    journal.stage.store(Stage::none);
    return enough;
  });
}

template <class Base>
void BankOf<Base>::prepare(const Transfer& order) noexcept {
  Journal& journal = ledger_.journal;
  journal.payer.store(order.payer);
  journal.payee.store(order.payee);
  journal.payer_before.store(ledger_.balances[order.payer].load());
  journal.payee_after.store(ledger_.balances[order.payee].load() + order.amount);
  journal.stage.store(Stage::prepared);
}

template <class Base>
bool BankOf<Base>::withdraw(std::uint32_t account, Money amount) {
  return this->locked([&] {
    const Visit visit(*this);
    const Money balance = ledger_.balances[account].load();
    if (balance < amount) return false;
    set_balance(account, balance - amount);
    return true;
  });
}

template <class Base>
void BankOf<Base>::deposit(std::uint32_t account, Money amount) {
  this->locked([&] {
    const Visit visit(*this);
    set_balance(account, ledger_.balances[account].load() + amount);
  });
}

template <class Base>
void BankOf<Base>::set_balance(std::uint32_t account, Money balance) {
  this->locked([&] {
    const Visit visit(*this);
    ledger_.balances[account].store(balance);
  });
}

template <class Base>
void BankOf<Base>::abandon_transfer(const Transfer& order, std::uint32_t stores) {
  this->lock();
  enter();
  prepare(order);
  if (stores == 0 || !withdraw(order.payer, order.amount)) return;
  if (stores == 1) return;
  ledger_.journal.stage.store(Stage::withdrawn);
  if (stores > 2) deposit(order.payee, order.amount);
}

template <class Base>
void BankOf<Base>::there_and_back(const Transfer& order) {
  const Visit visit(*this);
  if (transfer(order)) transfer({order.payee, order.payer, order.amount});
}

template <class Base>
Money BankOf<Base>::audit() {
  const Visit visit(*this);
  Money sum = 0;
  for (std::uint32_t account = 0; account < ledger_.size; ++account) sum += ledger_.balances[account].load();
  const Money difference = sum - ledger_.total;
  this_visitor->line.money_lost.raise_to(std::abs(difference));
  return difference;
}

template <class Base>
void BankOf<Base>::recover() {
  Line& line = this_visitor->line;
  line.inherited.add(1);
  // What the dead owner left there. Were it alive after all, it would miss its own ticket.
  ledger_.inside.store(0);
  const Visit visit(*this);
  Journal& journal = ledger_.journal;
  switch (journal.stage.load()) {
    case Stage::none:
      line.none_under_way.add(1);
      break;
    case Stage::prepared:
      set_balance(journal.payer.load(), journal.payer_before.load());
      journal.stage.store(Stage::none);
      line.undone.add(1);
      break;
    case Stage::withdrawn:
      set_balance(journal.payee.load(), journal.payee_after.load());
      journal.stage.store(Stage::none);
      line.finished.add(1);
      break;
  }
}

template class BankOf<heirlock::Lockable>;
template class BankOf<Substitute>;

}  // namespace stress
