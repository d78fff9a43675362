// What locks do, in the smallest terms, and the operations of which random programs are made.
//
// The property tests run such programs on real processes, a fuzz target on a simulated platform; both hold
// what they see against this model. It knows no word, no bit and no order of steps.
#ifndef HEIRLOCK_TESTS_MODEL_LOCK_MODEL_HPP
#define HEIRLOCK_TESTS_MODEL_LOCK_MODEL_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

namespace model {

/// What one actor does. An actor is a thread; those of one process die, stop and go on together.
enum class Action : std::uint8_t {
  acquire,      ///< waits for the lock if it must
  acquire_for,  ///< waits too, until give_up
  give_up,      ///< its time is over while it waits
  try_acquire,
  release,
  repaired,
  abandon,     ///< gives up the lock at any depth, as its death would
  end_thread,  ///< the thread ends, whatever it holds
  kill,        ///< SIGKILL to its process, also while it waits or is stopped
  exec,        ///< its process becomes another program
  stop,        ///< SIGSTOP to its process, also while it waits
  go_on,       ///< SIGCONT
  fork,        ///< a new process, with one actor
  reopen,      ///< its process unmaps the lock and maps it again
};
inline constexpr std::size_t actions = 14;

struct Operation {
  Action action;
  std::uint8_t actor;
  std::uint8_t lock;
};

inline const char* name_of(Action action) {
  constexpr const char* names[] = {"acquire",  "acquire_for", "give_up",    "try_acquire", "release",
                                   "repaired", "abandon",     "end_thread", "kill",        "exec",
                                   "stop",     "go_on",       "fork",       "reopen"};
  return names[static_cast<std::size_t>(action)];
}

/// What the actor sees.
enum class Outcome : std::uint8_t {
  not_acquired,
  acquired,
  reentered,
  inherited,
  blocks,   ///< it waits; come_in() or give_up will tell what becomes of it
  refused,  ///< AssertionError, and nothing has changed
  done,
};

inline const char* name_of(Outcome outcome) {
  constexpr const char* names[] = {"not_acquired", "acquired", "reentered", "inherited",
                                   "blocks",       "refused",  "done"};
  return names[static_cast<std::size_t>(outcome)];
}

inline constexpr int nobody = -1;

struct LockState {
  int owner = nobody;
  std::uint32_t depth = 0;
  bool needs_repair = false;  ///< the next to take it inherits
};

struct ActorState {
  int process;
  bool is_alive = true;
  bool is_stopped = false;
  int waits_for = nobody;  ///< a lock
  bool is_timed = false;   ///< and may give up
};

class LockModel {
 public:
  explicit LockModel(std::size_t locks) : locks_(locks) {}

  /// Free locks and no actors, as a new model has them, in the memory that this one has already.
  void reset(std::size_t locks) {
    locks_.assign(locks, LockState());
    actors_.clear();
  }

  /// A new thread of the process; returns its number. They are counted from 0 and never used again.
  int begin(int process) {
    actors_.push_back({process});
    return static_cast<int>(actors_.size()) - 1;
  }

  const std::vector<LockState>& locks() const { return locks_; }
  const std::vector<ActorState>& actors() const { return actors_; }

  /// Whether the operation means anything now. A program may hold any operations: those that do not are left
  /// out, so that what remains when a program is shortened is a program too.
  bool can(const Operation& operation) const {
    if (operation.actor >= actors_.size() || operation.lock >= locks_.size()) return false;
    const ActorState& actor = actors_[operation.actor];
    if (!actor.is_alive) return false;
    switch (operation.action) {
      case Action::kill:
        return true;
      case Action::stop:
        return !actor.is_stopped;
      case Action::go_on:
        return actor.is_stopped;
      case Action::give_up:
        return !actor.is_stopped && actor.waits_for != nobody && actor.is_timed;
      case Action::abandon:
        return is_free_to_act(actor) && locks_[operation.lock].owner == operation.actor;
      case Action::reopen:
        return is_free_to_act(actor) && !is_used_by(actor.process, operation.lock);
      default:
        return is_free_to_act(actor);
    }
  }

  /// Does what can() allows. Actors of other processes may be let in by it: see must_come_in().
  Outcome apply(const Operation& operation) {
    const int me = operation.actor;
    LockState& lock = locks_[operation.lock];
    ActorState& actor = actors_[operation.actor];
    switch (operation.action) {
      case Action::acquire:
      case Action::acquire_for:
      case Action::try_acquire:
        if (lock.owner == me) return ++lock.depth, Outcome::reentered;
        if (lock.owner == nobody) return take(lock, me);
        if (operation.action == Action::try_acquire) return Outcome::not_acquired;
        actor.waits_for = operation.lock;
        actor.is_timed = operation.action == Action::acquire_for;
        return Outcome::blocks;
      case Action::give_up:
        actor.waits_for = nobody;
        return Outcome::not_acquired;
      case Action::release:
        if (lock.owner != me) return Outcome::refused;
        if (--lock.depth == 0) lock.owner = nobody;
        return Outcome::done;
      case Action::repaired:
        if (lock.owner != me) return Outcome::refused;
        lock.needs_repair = false;
        return Outcome::done;
      case Action::abandon:
        leave_to_an_heir(lock);
        return Outcome::done;
      case Action::end_thread:
        end(me);
        return Outcome::done;
      case Action::kill:
      case Action::exec:
        for (std::size_t other = 0; other < actors_.size(); ++other)
          if (actors_[other].process == actor.process) end(static_cast<int>(other));
        return Outcome::done;
      case Action::stop:
      case Action::go_on:
        for (ActorState& other : actors_)
          if (other.process == actor.process) other.is_stopped = operation.action == Action::stop;
        return Outcome::done;
      case Action::fork:  // the child owns nothing of what its parent owns: begin() it
      case Action::reopen:
        return Outcome::done;
    }
    return Outcome::done;
  }

  /// Whether somebody must get this lock now, with nobody doing anything more: who, the model does not say.
  bool must_come_in(std::size_t lock) const {
    if (locks_[lock].owner != nobody) return false;
    for (std::size_t actor = 0; actor < actors_.size(); ++actor)
      if (may_come_in(static_cast<int>(actor)) && actors_[actor].waits_for == static_cast<int>(lock))
        return true;
    return false;
  }
  /// Whether the actor may get now the lock it waits for.
  bool may_come_in(int actor) const {
    const ActorState& me = actors_[static_cast<std::size_t>(actor)];
    return me.is_alive && !me.is_stopped && me.waits_for != nobody &&
           locks_[static_cast<std::size_t>(me.waits_for)].owner == nobody;
  }
  /// The actor was seen to get the lock it waited for, as it may: what it must have been told.
  Outcome come_in(int actor) {
    ActorState& me = actors_[static_cast<std::size_t>(actor)];
    LockState& lock = locks_[static_cast<std::size_t>(me.waits_for)];
    me.waits_for = nobody;
    return take(lock, actor);
  }

  /// Has the owner hold it this deep. For the limit, which nobody reaches in single steps.
  void set_depth(std::size_t lock, std::uint32_t depth) { locks_[lock].depth = depth; }

 private:
  static bool is_free_to_act(const ActorState& actor) {
    return !actor.is_stopped && actor.waits_for == nobody;
  }

  bool is_used_by(int process, int lock) const {
    for (std::size_t actor = 0; actor < actors_.size(); ++actor)
      if (actors_[actor].process == process &&
          (actors_[actor].waits_for == lock ||
           locks_[static_cast<std::size_t>(lock)].owner == static_cast<int>(actor)))
        return true;
    return false;
  }

  static Outcome take(LockState& lock, int actor) {
    lock.owner = actor;
    lock.depth = 1;
    return lock.needs_repair ? Outcome::inherited : Outcome::acquired;
  }
  static void leave_to_an_heir(LockState& lock) { lock = {nobody, 0, true}; }

  void end(int actor) {
    actors_[static_cast<std::size_t>(actor)].is_alive = false;
    actors_[static_cast<std::size_t>(actor)].waits_for = nobody;
    for (LockState& lock : locks_)
      if (lock.owner == actor) leave_to_an_heir(lock);
  }

  std::vector<LockState> locks_;
  std::vector<ActorState> actors_;
};

}  // namespace model
#endif
