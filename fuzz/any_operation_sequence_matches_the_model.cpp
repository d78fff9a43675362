// Spec: lock.acquire.free, lock.acquire.blocking, lock.acquire.progress, lock.try.busy, lock.try.free
// Spec: lock.reentry.result, lock.reentry.depth, lock.reentry.limit, lock.release.owner-only
// Spec: lock.release.owner-only, lock.owner.copies
// Spec: lock.timeout.ends, lock.inherit.death, lock.inherit.depth, lock.inherit.flag, lock.inherit.repaired
// Any sequence of operations by several threads of several processes, deaths and passing time among them, has
// the outcomes that tests/model/lock_model.hpp says, and leaves word, depth, flag and robust lists as it
// says.
//
// An operation is carried out until nobody can go on any more, and then what it may have changed is compared.
//
// Input: a byte for the number of locks and of threads; then two bytes an operation.

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "model/lock_invariants.hpp"
#include "model/lock_model.hpp"
#include "simulated/machine.hpp"

namespace {

using heirlock::detail::owner_died_bit;
using heirlock::detail::owner_of;
using model::Action;
using model::Operation;
using model::Outcome;
using simulated::Actor;
using simulated::Algorithm;
using simulated::Deadline;
using simulated::Death;
using simulated::Life;
using simulated::Lock;
using simulated::Machine;

constexpr unsigned most_operations = 40;

// What the algorithm says, in the model's words.
Outcome outcome_of(heirlock::detail::Outcome outcome) {
  switch (outcome) {
    case heirlock_not_acquired:
      return Outcome::not_acquired;
    case heirlock_acquired:
      return Outcome::acquired;
    case heirlock_reentered:
      return Outcome::reentered;
    case heirlock_inherited:
      return Outcome::inherited;
    case heirlock_done:
      return Outcome::done;
    case heirlock_not_owner:
    case heirlock_recursion_too_deep:
      return Outcome::refused;
    default:
      std::abort();
  }
}

// Kept from run to run: to allocate it takes longer than most operations.
model::LockModel model_of_all_runs(0);

class Program {
 public:
  explicit Program(fuzz::Input& bytes) : bytes_(bytes), locks_(1 + bytes.choose(Machine::most_locks)) {
    model_.reset(locks_);
    machine_.reset(bytes_);
    const unsigned threads = 1 + bytes_.choose(2);
    for (int process = 0; process < 2; ++process)
      for (unsigned thread = 0; thread < threads; ++thread) begin_actor(process);
  }

  void run() {
    while (!bytes_.is_empty() && written_ < most_operations) do_next();
    // The last test: everybody dies, and a newcomer takes what they left.
    for (unsigned actor = 0; actor < machine_.actors(); ++actor) carry_out({Action::kill, as_byte(actor), 0});
    const unsigned newcomer = machine_.begin_actor();
    model_.begin(next_process_++);
    for (unsigned lock = 0; lock < locks_; ++lock)
      carry_out({Action::try_acquire, as_byte(newcomer), as_byte(lock)});
  }

 private:
  // The last actor is kept for the end.
  static constexpr unsigned most_actors = Machine::most_actors - 1;
  static constexpr unsigned to_the_limit =
      model::actions;  // one action more: nests as deep as it goes, but one

  static std::uint8_t as_byte(unsigned number) { return static_cast<std::uint8_t>(number); }

  void begin_actor(int process, std::uint32_t tid = 0) {
    machine_.begin_actor(tid);
    model_.begin(process);
    next_process_ = std::max(next_process_, process + 1);
  }

  void do_next() {
    const unsigned action = bytes_.choose(to_the_limit + 1);
    const std::uint8_t rest = bytes_.take();
    choice_ = rest >> 5;
    const std::uint8_t actor = rest & 7;
    const auto lock = as_byte((rest >> 3 & 3) % locks_);
    if (action == to_the_limit) return nest_to_the_limit(actor, lock);
    const Operation operation{static_cast<Action>(action), actor, lock};
    if (model_.can(operation)) carry_out(operation);
  }

  void nest_to_the_limit(unsigned actor, unsigned lock) {
    if (model_.locks()[lock].owner != static_cast<int>(actor)) return;
    if (!model_.can({Action::try_acquire, as_byte(actor), as_byte(lock)})) return;
    machine_.lock(lock).depth.now() = UINT32_MAX;
    model_.set_depth(lock, UINT32_MAX);
    write_down({Action::try_acquire, as_byte(actor), as_byte(lock)}, Outcome::refused);
    do_as(actor, [&] { return acquire(lock, Deadline::never); });
    if (seen_[actor] != Outcome::refused) fail("an acquire beyond the limit was not refused");
    seen_[actor].reset();
    compare(lock);
    machine_.lock(lock).depth.now() = 2;
    model_.set_depth(lock, 2);
  }

  void carry_out(const Operation& operation) {
    if (!model_.can(operation)) return;
    const bool was_waiting = model_.actors()[operation.actor].waits_for != model::nobody;
    const Outcome expected = model_.apply(operation);
    write_down(operation, expected);
    act(operation, expected == Outcome::blocks || is_leaked(operation.lock));
    settle();
    std::optional<Outcome>& seen = seen_[operation.actor];
    const bool reports = is_call(operation.action) || (operation.action == Action::give_up && was_waiting);
    if (reports && expected == Outcome::blocks && seen) fail("found it back, expected it to wait");
    if (reports && expected != Outcome::blocks && !seen) fail("found it waiting, expected it back");
    if (reports && expected != Outcome::blocks && seen != expected) fail_by(*seen);
    seen.reset();
    // What a call did to another lock than its own is seen at the latest at the end.
    if (is_call(operation.action))
      compare(operation.lock);
    else
      compare_all();
    if (operation.action == Action::fork) try_what_a_namesake_left();
    if (is_call(operation.action) && expected == Outcome::acquired)
      re_enter_by_another_copy(operation.actor, operation.lock);
  }

  // To which the owner has another id.
  void re_enter_by_another_copy(unsigned actor, unsigned lock) {
    constexpr std::uint64_t in_another_copy = std::uint64_t{1} << 40;
    machine_.actor(actor).thread.id += in_another_copy;
    do_as(actor, [&] { return acquire(lock, Deadline::passed); });
    if (seen_[actor] != Outcome::reentered) fail("another copy of the library does not know the owner");
    do_as(actor, [&] { return outcome_of(Algorithm::release(machine_.lock(lock))); });
    if (seen_[actor] != Outcome::done) fail("another copy of the library refuses the owner's release");
    seen_[actor].reset();
    machine_.actor(actor).thread.id -= in_another_copy;
    compare(lock);
  }

  static bool is_call(Action action) { return action <= Action::abandon && action != Action::give_up; }

  template <class Call>
  static Outcome attempt(Call call) {
    try {
      return call();
    } catch (const simulated::SleepsOutsideOfAJob&) {
      return Outcome::blocks;
    }
  }
  // At once. A job of its own, which can sleep, takes ten times as long.
  template <class Call>
  void do_as(unsigned actor, Call call) {
    machine_.act_as(actor);
    seen_[actor] = attempt(call);
  }
  Outcome acquire(unsigned lock, Deadline deadline) {
    return outcome_of(Algorithm::acquire(machine_.lock(lock), deadline));
  }
  Outcome call(const Operation& operation) {
    Lock& lock = machine_.lock(operation.lock);
    switch (operation.action) {
      case Action::acquire:
        return acquire(operation.lock, Deadline::never);
      case Action::acquire_for:
        return acquire(operation.lock, Deadline::passes_at_some_time);
      case Action::try_acquire:
        return acquire(operation.lock, Deadline::passed);
      case Action::release:
        return outcome_of(Algorithm::release(lock));
      case Action::repaired:
        return outcome_of(Algorithm::repaired(lock));
      case Action::abandon:
        return Algorithm::abandon(lock), Outcome::done;
      default:
        std::abort();
    }
  }

  void act(const Operation& operation, bool may_sleep) {
    const unsigned actor = operation.actor;
    const Death death = (choice_ & 1) != 0 ? Death::missed : Death::treated;
    switch (operation.action) {
      case Action::give_up:
        return machine_.end_time(actor);
      case Action::end_thread:
        return die(actor, Death::treated);
      case Action::kill:
      case Action::exec:
        for (unsigned other = 0; other < machine_.actors(); ++other)
          if (machine_.actor(other).life == Life::alive && is_same_process(other, actor))
            die(other, operation.action == Action::exec ? death : Death::treated);
        return;
      case Action::stop:
      case Action::go_on:
        for (unsigned other = 0; other < machine_.actors(); ++other)
          if (machine_.actor(other).life == Life::alive && is_same_process(other, actor)) {
            if (operation.action == Action::stop)
              machine_.stop(other);
            else
              machine_.resume(other);
          }
        return;
      case Action::fork:
        if (machine_.actors() < most_actors) begin_actor(next_process_, thread_id_to_reuse());
        return;
      case Action::reopen:
        return;
      default:
        machine_.actor(actor).time_is_over = false;
        if (!may_sleep) return do_as(actor, [&] { return call(operation); });
        machine_.begin(
            actor, [this, operation] { seen_[operation.actor] = attempt([&] { return call(operation); }); });
    }
  }

  bool is_same_process(unsigned a, unsigned b) const {
    return model_.actors()[a].process == model_.actors()[b].process;
  }

  void die(unsigned actor, Death death) {
    machine_.die(actor, death);
    seen_[actor].reset();
  }

  // It names an owner whose death was missed.
  bool is_leaked(unsigned number) const {
    const Lock& lock = machine_.lock(number);
    const std::uint32_t tid = owner_of(lock.word.now());
    if (tid == 0) return false;
    for (unsigned actor = 0; actor < machine_.actors(); ++actor)
      if (machine_.actor(actor).life == Life::alive && machine_.actor(actor).thread.tid == tid &&
          machine_.actor(actor).thread.id == lock.owner_id.now())
        return false;
    return true;
  }

  // A dead thread's id may come to a new one, whose locks are not the dead one's.
  std::uint32_t thread_id_to_reuse() const {
    if (choice_ == 0) return 0;
    for (unsigned actor = 0; actor < machine_.actors(); ++actor) {
      const std::uint32_t tid = machine_.actor(actor).thread.tid;
      if (machine_.is_gone(tid)) return tid;
    }
    return 0;
  }

  // It alone can tell that the owner is not itself; for others the owner seems alive.
  void try_what_a_namesake_left() {
    const unsigned newcomer = machine_.actors() - 1;
    for (unsigned lock = 0; lock < locks_; ++lock)
      if (is_leaked(lock) && owner_of(machine_.lock(lock).word.now()) == machine_.actor(newcomer).thread.tid)
        carry_out({Action::try_acquire, as_byte(newcomer), as_byte(lock)});
  }

  // Lets everybody go on who can, and time pass for those who sleep behind an owner whose death was missed.
  void settle() {
    while (anybody_goes_on() || any_slice_ends()) continue;
    for (unsigned lock = 0; lock < locks_; ++lock)
      if (model_.must_come_in(lock)) fail("a free lock has waiters, and nobody comes");
  }

  // Whoever gets a lock it waited for was to get it.
  bool anybody_goes_on() {
    bool anybody = false;
    for (unsigned i = 0; i < machine_.actors(); ++i) {
      const unsigned actor = (choice_ + i) % machine_.actors();
      if (!machine_.can_go_on(actor)) continue;
      anybody = true;
      machine_.go_on(actor);
      if (machine_.is_busy(actor) || !seen_[actor]) continue;
      if (model_.actors()[actor].waits_for == model::nobody) continue;  // it gave up
      if (!model_.may_come_in(static_cast<int>(actor))) fail("found a waiter back, expected it to wait");
      if (model_.come_in(static_cast<int>(actor)) != *seen_[actor]) fail_by(*seen_[actor]);
      seen_[actor].reset();
    }
    return anybody;
  }

  bool any_slice_ends() {
    bool any = false;
    for (unsigned actor = 0; actor < machine_.actors(); ++actor)
      for (unsigned lock = 0; lock < locks_; ++lock) {
        if (machine_.actor(actor).sleeps_on != &machine_.lock(lock).word || !is_leaked(lock)) continue;
        if (!machine_.is_gone(owner_of(machine_.lock(lock).word.now()))) continue;  // a namesake lives
        machine_.end_slice(actor);
        any = true;
      }
    return any;
  }

  void compare_all() const {
    for (unsigned lock = 0; lock < locks_; ++lock) compare(lock);
    for (unsigned number = 0; number < machine_.actors(); ++number) {
      const Actor& actor = machine_.actor(number);
      if (actor.life != Life::alive) continue;
      const int waits_for = model_.actors()[number].waits_for;
      const simulated::Link pending =
          waits_for == model::nobody
              ? 0
              : simulated::Platform::link_to(machine_.lock(static_cast<unsigned>(waits_for)));
      if (actor.thread.pending != pending) fail("a pending mark is missing, or was left");
      for (unsigned lock = 0; lock < locks_; ++lock)
        if (machine_.lists(actor, machine_.lock(lock)) !=
            (model_.locks()[lock].owner == static_cast<int>(number)))
          fail("a robust list lacks a lock, or has one too many");
    }
  }

  void compare(unsigned number) const {
    const Lock& lock = machine_.lock(number);
    const model::LockState& state = model_.locks()[number];
    const bool is_held = state.owner != model::nobody;
    const std::uint32_t word = lock.word.now();
    for (unsigned actor = 0; actor < machine_.actors(); ++actor) {
      if (machine_.actor(actor).life != Life::alive) continue;
      machine_.act_as(actor);
      if (Algorithm::is_owned(lock) != (state.owner == static_cast<int>(actor)))
        fail("is_owned() is true for another than the owner, or false for the owner");
    }
    if (!is_held && is_leaked(number)) return;  // until somebody comes
    const std::uint32_t owner = is_held ? machine_.actor(static_cast<unsigned>(state.owner)).thread.tid : 0;
    if (owner_of(word) != owner) fail("the word names another owner");
    if (((word & owner_died_bit) != 0) != state.needs_repair) fail("the word has another flag");
    if (is_held && lock.depth.now() != state.depth) fail("found another depth");
    const model::LockView view{word, lock.depth.now(), is_held, owner, owner};
    for (unsigned number_of_actor = 0; number_of_actor < machine_.actors(); ++number_of_actor) {
      const Actor& actor = machine_.actor(number_of_actor);
      if (actor.life != Life::alive) continue;
      const model::ThreadView relation{actor.thread.tid, actor.sleeps_on == &lock.word,
                                       actor.thread.pending == simulated::Platform::link_to(lock),
                                       machine_.lists(actor, lock)};
      if (const char* const broken = broken_invariant(view, relation)) fail(broken);
    }
  }

  void write_down(const Operation& operation, Outcome expected) {
    if (written_ < program_.size()) program_[written_++] = {operation, expected};
  }

  [[noreturn]] void fail_by(Outcome seen) const {
    std::fprintf(stderr, "the last one found: %s\n", name_of(seen));
    fail("found another outcome than the model");
  }
  [[noreturn]] void fail(const char* what) const {
    std::fprintf(stderr, "%s\nthe program, with what the model expects of each:\n", what);
    for (std::size_t line = 0; line < written_; ++line)
      std::fprintf(stderr, "  {%s, %d, %d} -> %s\n", name_of(program_[line].operation.action),
                   program_[line].operation.actor, program_[line].operation.lock,
                   name_of(program_[line].expected));
    for (unsigned lock = 0; lock < locks_; ++lock)
      std::fprintf(stderr, "lock %u: word %#010" PRIx32 ", depth %" PRIu32 "\n", lock,
                   machine_.lock(lock).word.now(), machine_.lock(lock).depth.now());
    std::abort();
  }

  struct Line {
    Operation operation;
    Outcome expected;
  };

  Machine& machine_ = Machine::running();
  fuzz::Input& bytes_;
  const unsigned locks_;
  model::LockModel& model_ = model_of_all_runs;
  int next_process_ = 0;
  unsigned choice_ = 0;
  std::array<std::optional<Outcome>, Machine::most_actors> seen_;
  std::array<Line, most_operations + 32> program_;
  std::size_t written_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input bytes(data, size);
  Program(bytes).run();
  return 0;
}
