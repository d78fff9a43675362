#include "stress/bank.hpp"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>

namespace stress {
namespace {

thread_local Visitor* this_visitor = nullptr;

}  // namespace

Visitor::Visitor(Line& line_of_thread) noexcept
    : line(line_of_thread), tid(gettid()), ticket(static_cast<std::uint64_t>(tid) << 32) {
  line.waiting_since.post(0);  // a predecessor who was killed may have left these
  line.is_busy.post(false);
  line.tid.post(tid);
  this_visitor = this;
}

Visitor::~Visitor() {
  this_visitor = nullptr;
}

void Visitor::begin_to_wait(std::uint32_t bank) noexcept {
  line.waiting_for.post(bank);
  line.waiting_since.post(now());
}

void Visitor::stop_waiting() noexcept {
  const Nanoseconds since = line.waiting_since.read();
  if (since == 0) return;
  line.waiting_since.post(0);
  line.waits.add(now() - since);
}

Bank::Bank(LockKind kind, std::uint32_t accounts, std::uint32_t number)
    : ledger_(accounts), number_(number), lock_(make_lock(kind, [this] { recover(); })) {}

Bank::Visit::Visit(Bank& bank, Patience patience) : bank_(bank), is_inside_(bank.acquire(patience)) {
  if (is_inside_) bank_.enter();
}

Bank::Visit::~Visit() noexcept(false) {
  if (!is_inside_) return;
  bank_.leave();
  // A wrong lock may have lost its owner; leave() has counted that.
  if (bank_.lock_->depth() > 0) bank_.lock_->release();
}

bool Bank::acquire(Patience patience) {
  Visitor& me = *this_visitor;
  if (me.at[number_].depth == 0) me.begin_to_wait(number_);
  if (lock_->acquire(patience)) return true;
  me.stop_waiting();
  if (patience > 0) me.line.timed_out.add(1);
  return false;
}

void Bank::enter() noexcept {
  Visitor& me = *this_visitor;
  Visitor::Standing& here = me.at[number_];
  if (++here.depth == 1) {
    me.stop_waiting();
    if (ledger_->inside.load() != 0) me.line.wrong_owners.add(1);
    here.ticket = ++me.ticket;
    ledger_->inside.store(here.ticket);
    ledger_->visits.store(ledger_->visits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  check_inside();
}

void Bank::leave() noexcept {
  check_inside();
  if (--this_visitor->at[number_].depth == 0) ledger_->inside.store(0);
}

void Bank::check_inside() noexcept {
  const Visitor& me = *this_visitor;
  const Visitor::Standing& here = me.at[number_];
  const bool is_right =
      lock_->owner() == me.tid && lock_->depth() == here.depth && ledger_->inside.load() == here.ticket;
  if (!is_right) me.line.wrong_owners.add(1);
}

void Bank::check_outside() noexcept {
  const Visitor& me = *this_visitor;
  if (lock_->owner() == me.tid || lock_->depth() != 0) me.line.wrong_owners.add(1);
}

// A transfer takes less than a microsecond. Without this, hardly a kill would find a transfer half-done.
void Bank::linger_at_times() noexcept {
  constexpr std::uint32_t period = 1021;  // a prime, so that it is each step's turn
  if (++this_visitor->steps % period == 0) sched_yield();
}

bool Bank::transfer(const Transfer& order) {
  const Visit visit(*this);
  Journal& journal = ledger_->journal;
  prepare(order);
  linger_at_times();
  const bool is_enough = withdraw(order.payer, order.amount);
  if (is_enough) {
    linger_at_times();
    journal.stage.store(Stage::withdrawn);
    linger_at_times();
    deposit(order.payee, order.amount);
  }
  linger_at_times();
  journal.stage.store(Stage::none);
  return is_enough;
}

void Bank::prepare(const Transfer& order) noexcept {
  Journal& journal = ledger_->journal;
  journal.payer.store(order.payer);
  journal.payee.store(order.payee);
  journal.payer_before.store(ledger_->balances[order.payer].load());
  journal.payee_after.store(ledger_->balances[order.payee].load() + order.amount);
  journal.stage.store(Stage::prepared);
}

bool Bank::withdraw(std::uint32_t account, Money amount) {
  const Visit visit(*this);
  const Money balance = ledger_->balances[account].load();
  if (balance < amount) return false;
  set_balance(account, balance - amount);
  return true;
}

void Bank::deposit(std::uint32_t account, Money amount) {
  const Visit visit(*this);
  set_balance(account, ledger_->balances[account].load() + amount);
}

void Bank::set_balance(std::uint32_t account, Money balance) {
  const Visit visit(*this);
  ledger_->balances[account].store(balance);
}

void Bank::there_and_back(const Transfer& order) {
  const Visit visit(*this);
  if (transfer(order)) transfer({order.payee, order.payer, order.amount});
}

Money Bank::audit() {
  const Visit visit(*this);
  Money sum = 0;
  for (std::uint32_t account = 0; account < ledger_->size; ++account)
    sum += ledger_->balances[account].load();
  const Money difference = sum - ledger_->total;
  Posted<Money>& money_lost = this_visitor->line.money_lost;
  if (std::abs(difference) > money_lost.read()) money_lost.post(std::abs(difference));
  return difference;
}

void Bank::abandon_transfer(const Transfer& order, std::uint32_t stores) {
  acquire(std::nullopt);
  enter();
  prepare(order);
  if (stores == 0 || !withdraw(order.payer, order.amount)) return;
  if (stores == 1) return;
  ledger_->journal.stage.store(Stage::withdrawn);
  if (stores > 2) deposit(order.payee, order.amount);
}

// Runs while the lock is held at depth 1.
void Bank::recover() {
  Line& line = this_visitor->line;
  line.inherited.add(1);
  // The dead owner's ticket. If the owner were alive after all, it would miss the ticket.
  ledger_->inside.store(0);
  enter();
  Journal& journal = ledger_->journal;
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
  leave();
}

}  // namespace stress
