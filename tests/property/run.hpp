// Runs programs on real processes, and holds each step against the model.
#ifndef HEIRLOCK_TESTS_PROPERTY_RUN_HPP
#define HEIRLOCK_TESTS_PROPERTY_RUN_HPP

#include <array>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "property/actors.hpp"
#include "property/program.hpp"

namespace property {

/// One thing that happened: an actor did something, or came in from its wait, and what came of it.
struct Event {
  bool is_coming_in;
  model::Operation operation;
  model::Outcome outcome;
};
std::ostream& operator<<(std::ostream& out, const Event& event);

/// How often what took place.
class Tally {
 public:
  void count_program() { ++programs_; }
  void count(const Event& event);
  std::size_t programs() const { return programs_; }
  std::size_t steps() const { return steps_; }
  std::size_t of(model::Action action) const;
  std::size_t of(model::Action action, model::Outcome outcome) const {
    return counts_[static_cast<std::size_t>(action)][static_cast<std::size_t>(outcome)];
  }
  std::size_t of_coming_in(model::Outcome outcome) const {
    return counts_[model::actions][static_cast<std::size_t>(outcome)];
  }
  friend std::ostream& operator<<(std::ostream& out, const Tally& tally);

 private:
  static constexpr std::size_t outcomes = 7;
  std::size_t programs_ = 0;
  std::size_t steps_ = 0;
  std::array<std::array<std::size_t, outcomes>, model::actions + 1> counts_{};  // coming in is the last
};

/// A program under way. After each step, whatever was to follow from it has happened.
class Execution {
 public:
  Execution(const std::vector<int>& threads, std::size_t locks, Backstop backstop = Backstop::off);

  /// Does the operation, if it means anything now; returns whether it did. Throws a Disagreement when a
  /// result or anything that can be seen afterwards is not as the model says.
  bool step(const model::Operation& operation);

  const std::vector<Event>& events() const { return events_; }
  const model::LockModel& model() const { return model_; }
  const Actors& actors() const { return actors_; }
  /// Those who can be given orders.
  std::vector<int> free_actors() const;

 private:
  bool can(const model::Operation& operation) const;
  model::Outcome perform(const model::Operation& operation);
  std::vector<int> living_actors_of_process_of(int actor) const;
  std::vector<std::size_t> locks_of(int actor) const;
  void let_the_backstop_find(const std::vector<std::size_t>& leaked);

  void settle();
  bool somebody_came_in();
  bool all_waiters_sleep() const;
  bool somebody_must_come_in() const;

  void check();
  void check_from_outside(std::size_t lock) const;
  void check_view(int actor, std::size_t lock) const;
  void check_entry(const Event& event) const;

  const model::ActorState& state_of(int actor) const {
    return model_.actors()[static_cast<std::size_t>(actor)];
  }
  int count() const { return static_cast<int>(model_.actors().size()); }

  Backstop backstop_;
  model::LockModel model_;
  Actors actors_;
  int last_process_ = model::nobody;
  std::vector<Event> events_;
};

/// Runs a program from its beginning to its end. Returns "" if all agreed with the model, or else what did
/// not, and what had happened before.
std::string run(const Program& program, Backstop backstop = Backstop::off, Tally* tally = nullptr);

}  // namespace property
#endif
