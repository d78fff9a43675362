#include "property/program.hpp"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

namespace property {
namespace {

using model::Action;
using model::LockModel;
using model::nobody;
using model::Operation;

// --- Making a program -----------------------------------------------------------------------------------

// One throw of the dice: what is to be done, and which of those who can do it does.
struct Throw {
  Action action;
  std::uint16_t pick;
};

// How often each occurs: waits, nested acquires and deaths are frequent, and not all die early.
const std::vector<std::pair<std::size_t, Action>> weights = {
    {22, acquire}, {12, acquire_for}, {5, give_up}, {8, try_acquire}, {26, release},
    {5, repaired}, {2, end_thread},   {2, abandon}, {5, kill},        {3, exec},
    {6, stop},     {8, go_on},        {5, fork},    {3, reopen}};

// Foretells a program while it is made, so that its operations can mean something.
class Author {
 public:
  Author(const std::vector<int>& threads, std::size_t locks) : model_(locks) {
    for (const int count : threads) {
      ++last_process_;
      for (int i = 0; i < count; ++i) model_.begin(last_process_);
    }
  }

  std::vector<Operation> operations(const std::vector<Throw>& throws) {
    std::vector<Operation> written;
    for (const Throw& each : throws) {
      const std::vector<Operation> choice = choose_from(each.action, each.pick % 4 == 0);
      if (choice.empty()) continue;
      written.push_back(choice[each.pick / 4 % choice.size()]);
      foretell(written.back());
    }
    return written;
  }

 private:
  static constexpr std::size_t most_actors = 30;

  std::vector<Operation> choose_from(Action action, bool by_strangers_too) const {
    std::vector<Operation> possible;
    for (std::size_t actor = 0; actor < model_.actors().size(); ++actor)
      for (std::size_t lock = 0; lock < (is_about_a_lock(action) ? model_.locks().size() : 1); ++lock) {
        const Operation operation{action, static_cast<std::uint8_t>(actor), static_cast<std::uint8_t>(lock)};
        if (model_.can(operation) && is_wanted(operation, by_strangers_too)) possible.push_back(operation);
      }
    return possible;
  }

  static bool is_about_a_lock(Action action) {
    switch (action) {
      case Action::acquire:
      case Action::acquire_for:
      case Action::try_acquire:
      case Action::release:
      case Action::repaired:
      case Action::abandon:
      case Action::reopen:
        return true;
      default:
        return false;
    }
  }

  // Nothing that would leave nobody to act.
  bool is_wanted(const Operation& operation, bool by_strangers_too) const {
    const bool is_owner = model_.locks()[operation.lock].owner == operation.actor;
    switch (operation.action) {
      case Action::acquire:
      case Action::acquire_for:
        return is_owner || model_.locks()[operation.lock].owner == nobody ||
               free_actors_but(operation.actor, false) > 0;
      case Action::release:
      case Action::repaired:
        return is_owner || by_strangers_too;
      case Action::end_thread:
      case Action::stop:
      case Action::kill:
        return free_actors_but(operation.actor, operation.action != end_thread) > 0;
      case Action::fork:
      case Action::exec:
        return model_.actors().size() < most_actors;
      default:
        return true;
    }
  }

  std::size_t free_actors_but(int actor, bool and_its_process) const {
    const auto& all = model_.actors();
    std::size_t count = 0;
    for (std::size_t other = 0; other < all.size(); ++other) {
      const bool is_left_out = and_its_process
                                   ? all[other].process == all[static_cast<std::size_t>(actor)].process
                                   : static_cast<int>(other) == actor;
      if (!is_left_out && all[other].is_alive && !all[other].is_stopped && all[other].waits_for == nobody)
        ++count;
    }
    return count;
  }

  // Of several waiters the first comes in: a guess. Where it is wrong, later operations may mean nothing.
  void foretell(const Operation& operation) {
    model_.apply(operation);
    if (operation.action == exec) model_.begin(model_.actors()[operation.actor].process);
    if (operation.action == fork) model_.begin(++last_process_);
    for (std::size_t actor = 0; actor < model_.actors().size(); ++actor)
      if (model_.may_come_in(static_cast<int>(actor))) model_.come_in(static_cast<int>(actor));
  }

  LockModel model_;
  int last_process_ = nobody;
};

// --- Making it shorter ----------------------------------------------------------------------------------

Program with_operations(Program program, std::vector<Operation> operations) {
  program.operations = std::move(operations);
  return program;
}

// Those behind it move up.
Program without_actor(Program program, int actor) {
  int first = 0;
  for (auto threads = program.threads.begin(); threads != program.threads.end(); first += *threads++)
    if (actor < first + *threads) {
      if (--*threads == 0) program.threads.erase(threads);
      break;
    }
  std::vector<Operation> kept;
  for (Operation operation : program.operations) {
    if (operation.actor == actor) continue;
    if (operation.actor > actor) --operation.actor;
    kept.push_back(operation);
  }
  return with_operations(std::move(program), std::move(kept));
}

// What was done to the last one is done to the one before it.
Program with_one_lock_less(Program program) {
  --program.locks;
  for (Operation& operation : program.operations)
    operation.lock = std::min(operation.lock, static_cast<std::uint8_t>(program.locks - 1));
  return program;
}

rc::Seq<Program> shorter(const Program& program) {
  std::vector<Program> smaller;
  int actors = 0;
  for (const int count : program.threads) actors += count;
  for (int actor = actors - 1; actor >= 0 && actors > 1; --actor)
    smaller.push_back(without_actor(program, actor));
  if (program.locks > 1) smaller.push_back(with_one_lock_less(program));
  return rc::seq::concat(rc::seq::map(rc::shrink::removeChunks(program.operations),
                                      [program](std::vector<Operation> operations) {
                                        return with_operations(program, std::move(operations));
                                      }),
                         rc::seq::fromContainer(std::move(smaller)));
}

// --- As generators --------------------------------------------------------------------------------------

template <class T>
rc::Gen<T> between(T first, T last) {  // at every size
  return rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(first, static_cast<T>(last + 1)));
}

// The size of a test case is how many there are.
rc::Gen<std::vector<Throw>> throws() {
  std::vector<Action> lots;
  for (const auto& [weight, action] : weights) lots.insert(lots.end(), weight, action);
  return rc::gen::scale(2, rc::gen::container<std::vector<Throw>>(rc::gen::build<Throw>(
                               rc::gen::set(&Throw::action, rc::gen::elementOf(std::move(lots))),
                               rc::gen::set(&Throw::pick, between<std::uint16_t>(0, UINT16_MAX - 1)))));
}

rc::Gen<std::vector<int>> threads_of_processes() {
  return rc::gen::mapcat(between<std::size_t>(2, 4), [](std::size_t processes) {
    return rc::gen::container<std::vector<int>>(processes, between(1, 2));
  });
}

}  // namespace

void showValue(const Program& program, std::ostream& out) {
  out << "EXPECT_EQ(run({{";
  for (std::size_t i = 0; i < program.threads.size(); ++i) out << (i == 0 ? "" : ", ") << program.threads[i];
  out << "}, " << program.locks << ", {\n";
  for (const Operation& operation : program.operations)
    out << "    {" << name_of(operation.action) << ", " << int{operation.actor} << ", " << int{operation.lock}
        << "},\n";
  out << "}}), \"\");";
}

rc::Gen<Program> any_program() {
  const auto write = [](const std::tuple<std::vector<int>, std::size_t, std::vector<Throw>>& all) {
    const auto& [threads, locks, dice] = all;
    return Program{threads, locks, Author(threads, locks).operations(dice)};
  };
  const auto parts = rc::gen::tuple(threads_of_processes(), between<std::size_t>(1, 3), throws());
  return rc::gen::shrink(rc::gen::noShrink(rc::gen::map(parts, write)),
                         [](const Program& whole) { return shorter(whole); });
}

}  // namespace property
