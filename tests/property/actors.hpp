// The processes and threads of a program, from outside: orders, answers, signals, and what can be seen of
// them.
#ifndef HEIRLOCK_TESTS_PROPERTY_ACTORS_HPP
#define HEIRLOCK_TESTS_PROPERTY_ACTORS_HPP

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "heirlock/shared.hpp"
#include "property/board.hpp"
#include "property/program.hpp"
#include "support/segment_name.hpp"

namespace property {

enum class Backstop { off, on };

/// What was seen is not what must be.
class Disagreement : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Actors that wait for orders, and their locks. One set of them at a time; all are killed when it ends. What
/// never happens within a generous time, or cannot happen any more, is a Disagreement.
class Actors {
 public:
  Actors(const std::vector<int>& threads, std::size_t locks, Backstop backstop);
  Actors(const Actors&) = delete;
  Actors& operator=(const Actors&) = delete;
  ~Actors();

  /// Has an actor act. Returns what it came to: `blocks` as soon as it is asleep on the lock's futex.
  model::Outcome act(const model::Operation& operation);
  /// Whether a waiter has come back, and if so, what its acquire came to.
  bool has_come_back(int actor) const { return slot(actor).answers == orders_[index(actor)]; }
  model::Outcome outcome_of(int actor) const { return slot(actor).outcome; }
  bool is_asleep(int actor) const;
  /// Tells a timed waiter that its time is over; returns what its acquire came to.
  model::Outcome give_up(int actor);
  /// Its thread ends; returns when it has.
  void end_thread(int actor);
  /// Kills the process of these actors; returns when all have ended.
  void kill(const std::vector<int>& actors);
  /// Stops the process of these actors; returns when all have.
  void stop(const std::vector<int>& actors);
  void go_on(int actor);
  /// The process of `all` becomes another program by this actor's exec, with one new actor.
  void exec(int actor, const std::vector<int>& all);
  /// The actor's process gets a child, with one new actor.
  void fork(int actor);

  /// Has all of these look at the locks, into views_of().
  void look(const std::vector<int>& actors);
  const View& view(int actor, std::size_t lock) const { return slot(actor).views[lock]; }
  /// Who was inside when the actor came in last, as they said themselves.
  int found_inside(int actor) const { return slot(actor).found_inside; }

  std::size_t count() const { return orders_.size(); }
  bool is_leader(int actor) const { return slot(actor).tid == slot(actor).process; }
  pid_t tid(int actor) const { return slot(actor).tid; }
  Guarded& lock(std::size_t number) const { return *locks_[number]; }

  /// Returns when the condition holds.
  static void wait_until(const std::function<bool()>& holds, const std::string& what);

 private:
  static std::size_t index(int actor) { return static_cast<std::size_t>(actor); }
  static Slot& slot(int actor);
  int begin();
  void order(int actor, bool is_to_look, const model::Operation& operation = {});
  void wait_for_answer(int actor) const;
  void wait_for_end(int actor);
  void throw_if_dead(int actor) const;

  std::vector<std::uint32_t> orders_;  // given to each actor; to begin is the first
  std::vector<support::SegmentName> names_;
  std::vector<heirlock::Shared<Guarded>> locks_;
};

}  // namespace property
#endif
