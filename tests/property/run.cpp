#include "property/run.hpp"

#include <iomanip>
#include <sstream>

#include "support/lock_probe.hpp"

namespace property {

using model::Action;
using model::nobody;
using model::Operation;
using model::Outcome;

// --- What happened --------------------------------------------------------------------------------------

std::ostream& operator<<(std::ostream& out, const Event& event) {
  if (event.is_coming_in)
    return out << "  actor " << int{event.operation.actor} << " comes in to lock "
               << int{event.operation.lock} << ": " << name_of(event.outcome);
  return out << "  {" << name_of(event.operation.action) << ", " << int{event.operation.actor} << ", "
             << int{event.operation.lock} << "}: " << name_of(event.outcome);
}

void Tally::count(const Event& event) {
  if (!event.is_coming_in) ++steps_;
  const std::size_t row =
      event.is_coming_in ? model::actions : static_cast<std::size_t>(event.operation.action);
  ++counts_[row][static_cast<std::size_t>(event.outcome)];
}

std::size_t Tally::of(Action action) const {
  std::size_t sum = 0;
  for (const std::size_t count : counts_[static_cast<std::size_t>(action)]) sum += count;
  return sum;
}

std::ostream& operator<<(std::ostream& out, const Tally& tally) {
  out << tally.programs_ << " programs, " << tally.steps_ << " steps\n";
  for (std::size_t row = 0; row <= model::actions; ++row) {
    out << "  " << std::left << std::setw(12)
        << (row == model::actions ? "(comes in)" : name_of(static_cast<Action>(row)));
    for (std::size_t outcome = 0; outcome < Tally::outcomes; ++outcome)
      if (tally.counts_[row][outcome] != 0)
        out << "  " << name_of(static_cast<Outcome>(outcome)) << ' ' << tally.counts_[row][outcome];
    out << '\n';
  }
  return out;
}

// --- A program under way --------------------------------------------------------------------------------

namespace {

std::string actor_or_nobody(int actor) {
  return actor == nobody ? "nobody" : "actor " + std::to_string(actor);
}

template <class T>
void expect(const std::string& what, const T& found, const T& expected) {
  if (found == expected) return;
  std::ostringstream text;
  text << "found " << what << " to be " << found << ", expected " << expected;
  throw Disagreement(text.str());
}

void expect_outcome(const std::string& what, Outcome found, Outcome expected) {
  expect<std::string>("the result of " + what, name_of(found), name_of(expected));
}

}  // namespace

Execution::Execution(const std::vector<int>& threads, std::size_t locks, Backstop backstop)
    : backstop_(backstop), model_(locks), actors_(threads, locks, backstop) {
  for (const int count : threads) {
    ++last_process_;
    for (int i = 0; i < count; ++i) model_.begin(last_process_);
  }
}

bool Execution::step(const Operation& operation) {
  if (!can(operation)) return false;
  const std::vector<std::size_t> held = locks_of(operation.actor);
  // The kernel takes an exec by another thread than the leader for no death of what this thread holds.
  const bool leaks = operation.action == exec && !actors_.is_leader(operation.actor);
  const Outcome found = perform(operation);
  events_.push_back({false, operation, found});
  Outcome expected = model_.apply(operation);
  if (expected == Outcome::blocks && operation.action == acquire_for && backstop_ == Backstop::on)
    expected = model_.apply({give_up, operation.actor, operation.lock});  // its time was short, and is over
  expect_outcome("this", found, expected);
  check_entry(events_.back());
  if (operation.action == exec) model_.begin(state_of(operation.actor).process);
  if (operation.action == fork) model_.begin(++last_process_);
  if (leaks) let_the_backstop_find(held);
  settle();
  check();
  return true;
}

bool Execution::can(const Operation& operation) const {
  if (!model_.can(operation)) return false;
  const bool begins_an_actor = operation.action == fork || operation.action == exec;
  if (begins_an_actor && actors_.count() == max_actors) return false;
  // What leaks by an exec, the backstop alone finds.
  return operation.action != exec || backstop_ == Backstop::on || actors_.is_leader(operation.actor) ||
         locks_of(operation.actor).empty();
}

Outcome Execution::perform(const Operation& operation) {
  switch (operation.action) {
    case Action::give_up:
      return actors_.give_up(operation.actor);
    case Action::end_thread:
      return actors_.end_thread(operation.actor), Outcome::done;
    case Action::kill:
      return actors_.kill(living_actors_of_process_of(operation.actor)), Outcome::done;
    case Action::stop:
      return actors_.stop(living_actors_of_process_of(operation.actor)), Outcome::done;
    case Action::go_on:
      return actors_.go_on(operation.actor), Outcome::done;
    case Action::exec:
      return actors_.exec(operation.actor, living_actors_of_process_of(operation.actor)), Outcome::done;
    case Action::fork:
      return actors_.fork(operation.actor), Outcome::done;
    default:
      return actors_.act(operation);
  }
}

std::vector<int> Execution::living_actors_of_process_of(int actor) const {
  std::vector<int> found;
  for (int other = 0; other < count(); ++other)
    if (state_of(other).is_alive && state_of(other).process == state_of(actor).process)
      found.push_back(other);
  return found;
}

std::vector<std::size_t> Execution::locks_of(int actor) const {
  std::vector<std::size_t> found;
  for (std::size_t lock = 0; lock < model_.locks().size(); ++lock)
    if (model_.locks()[lock].owner == actor) found.push_back(lock);
  return found;
}

std::vector<int> Execution::free_actors() const {
  std::vector<int> found;
  for (int actor = 0; actor < count(); ++actor)
    if (state_of(actor).is_alive && !state_of(actor).is_stopped && state_of(actor).waits_for == nobody)
      found.push_back(actor);
  return found;
}

// Whoever waits finds it as well, and may be the first.
void Execution::let_the_backstop_find(const std::vector<std::size_t>& leaked) {
  for (const std::size_t lock : leaked) {
    heirlock::ReentrantLock& its = actors_.lock(lock).lock;
    if (its.acquire_for(std::chrono::milliseconds(1)) != heirlock::AcquireResult::not_acquired) its.release();
  }
}

// --- Until nothing more will happen by itself -----------------------------------------------------------

void Execution::settle() {
  const auto is_quiet = [&] {
    while (somebody_came_in()) continue;
    if (!all_waiters_sleep() || somebody_came_in()) return false;
    if (!somebody_must_come_in()) return true;
    // A wake-up makes a thread runnable before the call that wakes is over: there is none under way.
    if (backstop_ == Backstop::off)
      throw Disagreement(
          "found a free lock and all who wait for it asleep, expected one to be let in: they are stranded");
    return false;
  };
  Actors::wait_until(is_quiet, "one of those who wait for a free lock is let in");
}

bool Execution::somebody_came_in() {
  for (int actor = 0; actor < count(); ++actor) {
    const int lock = state_of(actor).waits_for;
    if (lock == nobody || !actors_.has_come_back(actor)) continue;
    const Action action = state_of(actor).is_timed ? acquire_for : acquire;
    const Operation operation{action, static_cast<std::uint8_t>(actor), static_cast<std::uint8_t>(lock)};
    events_.push_back({true, operation, actors_.outcome_of(actor)});
    if (!model_.may_come_in(actor))
      throw Disagreement("found that " + actor_or_nobody(actor) +
                         " came back from its wait, expected it to wait on");
    expect_outcome("this", events_.back().outcome, model_.come_in(actor));
    check_entry(events_.back());
    return true;
  }
  return false;
}

bool Execution::all_waiters_sleep() const {
  for (int actor = 0; actor < count(); ++actor)
    if (state_of(actor).waits_for != nobody && !state_of(actor).is_stopped && !actors_.is_asleep(actor))
      return false;
  return true;
}

bool Execution::somebody_must_come_in() const {
  for (std::size_t lock = 0; lock < model_.locks().size(); ++lock)
    if (model_.must_come_in(lock)) return true;
  return false;
}

// --- What can be seen -----------------------------------------------------------------------------------

void Execution::check_entry(const Event& event) const {
  if (event.outcome != Outcome::acquired && event.outcome != Outcome::inherited) return;
  const int before = actors_.found_inside(event.operation.actor);
  if (before != nobody && state_of(before).is_alive)
    throw Disagreement("found " + actor_or_nobody(before) +
                       " inside, expected who is let in to be the only one in");
}

void Execution::check() {
  const std::vector<int> who = free_actors();
  actors_.look(who);
  for (std::size_t lock = 0; lock < model_.locks().size(); ++lock) {
    check_from_outside(lock);
    for (const int actor : who) check_view(actor, lock);
  }
}

void Execution::check_from_outside(std::size_t lock) const {
  const model::LockState& state = model_.locks()[lock];
  const std::string name = "lock " + std::to_string(lock);
  Guarded& guarded = actors_.lock(lock);
  const std::uint32_t word = support::word_of(guarded.lock);
  const pid_t owner = state.owner == nobody ? 0 : actors_.tid(state.owner);
  expect("the owner in the word of " + name, static_cast<pid_t>(heirlock::detail::owner_of(word)), owner);
  expect("OWNER_DIED of " + name, (word & heirlock::detail::owner_died_bit) != 0, state.needs_repair);
  if (state.owner == nobody) return;
  expect("the one inside " + name, guarded.occupant.load(), state.owner);
  for (const model::ActorState& actor : model_.actors())
    if (actor.waits_for == static_cast<int>(lock) && !actor.is_stopped)
      expect("WAITERS of " + name + ", behind which one sleeps,", (word & heirlock::detail::waiters_bit) != 0,
             true);
}

void Execution::check_view(int actor, std::size_t lock) const {
  const model::LockState& state = model_.locks()[lock];
  const View& view = actors_.view(actor, lock);
  const std::string of_lock = " of lock " + std::to_string(lock) + " as seen by " + actor_or_nobody(actor);
  expect("is_owned()" + of_lock, view.is_owned, state.owner == actor);
  expect("depth()" + of_lock, view.depth, state.owner == actor ? state.depth : 0);
  expect("owner()" + of_lock, view.owner, state.owner == nobody ? 0 : actors_.tid(state.owner));
  expect("needs_repair()" + of_lock, view.needs_repair, state.needs_repair);
}

// --- A whole program ------------------------------------------------------------------------------------

std::string run(const Program& program, Backstop backstop, Tally* tally) {
  Execution under_way(program.threads, program.locks, backstop);
  std::ostringstream story;
  try {
    for (const Operation& operation : program.operations) under_way.step(operation);
  } catch (const Disagreement& disagreement) {
    story << "what happened:\n";
    for (const Event& event : under_way.events()) story << event << '\n';
    story << "then: " << disagreement.what() << '\n';
  }
  if (tally != nullptr) {
    tally->count_program();
    for (const Event& event : under_way.events()) tally->count(event);
  }
  return story.str();
}

}  // namespace property
