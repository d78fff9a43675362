// Spec: lock.acquire.exclusion, lock.acquire.progress, lock.inherit.death, lock.inherit.flag
// Spec: lock.inherit.missed
// Spec: protocol.inv-owner, protocol.inv-waiters, protocol.inv-pending, protocol.inv-list
// Spec: protocol.inv-depth
// Any interleaving of 2 to 4 threads, step by step and with deaths between the steps, keeps exclusion and the
// invariants; nobody is stranded, and no death of an owner is forgotten.
//
// Input: a byte of configuration and one of deaths; two bytes a thread for what it does; then a byte for each
// turn and for each choice of the platform. When they are used up, everybody goes on in turn until the end.

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "model/lock_invariants.hpp"
#include "simulated/machine.hpp"

namespace {

using heirlock::detail::Outcome;
using heirlock::detail::owner_of;
using simulated::Actor;
using simulated::Algorithm;
using simulated::Deadline;
using simulated::Death;
using simulated::Life;
using simulated::Lock;
using simulated::Machine;

constexpr unsigned most_threads = 4;
constexpr unsigned most_steps = 20000;  // a thread that others do not disturb needs far fewer

/// What a thread does twice, or once.
struct Role {
  unsigned lock;  // 2: both, in order
  Deadline deadline;
  bool is_nested;
  bool repairs;
  bool abandons;
  bool comes_again;
  bool first_in_first_out;  // of two locks

  static Role from(fuzz::Input& bytes) {
    const unsigned how = bytes.take();
    const unsigned what = bytes.take();
    constexpr Deadline deadlines[] = {Deadline::never, Deadline::never, Deadline::passes_at_some_time,
                                      Deadline::passed};
    return {how % 3,           deadlines[how >> 2 & 3], (what & 1) != 0, (what & 2) == 0,
            (what & 12) == 12, (what & 16) != 0,        (what & 32) != 0};
  }
};

/// What a lock guards, and who is inside.
struct Guarded {
  static constexpr unsigned nobody = Machine::most_actors;
  unsigned inside = nobody;
  bool is_for_an_heir = false;  // the next to take the lock must inherit, and otherwise nobody may
};

class Run {
 public:
  explicit Run(fuzz::Input& bytes) : bytes_(bytes) {
    machine_.reset(bytes_, true);
    threads_ = 2 + bytes_.choose(3);
    const unsigned deaths = bytes_.take();
    deaths_left_ = deaths % 4;
    misses_deaths_ = (deaths & 4) != 0;
    for (unsigned thread = 0; thread < threads_; ++thread) {
      machine_.begin_actor();
      roles_[thread] = Role::from(bytes_);
    }
    for (unsigned thread = 0; thread < threads_; ++thread)
      machine_.begin(thread, [this, thread] { act(roles_[thread]); });
  }

  void run() {
    while (!bytes_.is_empty() && is_anybody_busy()) take_a_turn();
    for (unsigned thread = 0; is_anybody_busy(); thread = (thread + 1) % threads_)
      if (!go_on(thread) && !is_anybody_able()) let_time_pass();
    check_what_is_left();
  }

 private:
  // --- A thread's part

  unsigned me() const {
    for (unsigned thread = 0; thread < machine_.actors(); ++thread)
      if (&machine_.actor(thread) == &machine_.me()) return thread;
    std::abort();
  }

  void act(const Role& role) {
    for (int times = role.comes_again ? 2 : 1; times > 0; --times) {
      const unsigned first = role.lock < 2 ? role.lock : 0;
      const Outcome of_first = take(first, role);
      if (of_first == heirlock_not_acquired) continue;
      const Outcome of_second = role.lock < 2 ? heirlock_not_acquired : take(1, role);
      const bool has_second = of_second != heirlock_not_acquired;
      if (has_second && !role.first_in_first_out) give_back(1, role, of_second);
      give_back(first, role, of_first);
      if (has_second && role.first_in_first_out) give_back(1, role, of_second);
    }
  }

  Outcome take(unsigned number, const Role& role) {
    Lock& lock = machine_.lock(number);
    const std::uint32_t missed = gone_owner_of(lock);
    const Outcome result = Algorithm::acquire(lock, role.deadline);
    if (result == heirlock_not_acquired) {
      if (missed != 0 && missed == gone_owner_of(lock))
        fail("an acquire has ended and did not find a missed death");
      return result;
    }
    if (result == heirlock_reentered) fail("a lock was reentered by a thread that did not own it");
    come_in(number, result);
    if (role.is_nested) {
      if (Algorithm::acquire(lock, Deadline::passed) != heirlock_reentered) fail("the owner did not reenter");
      if (!role.abandons) Algorithm::release(lock);
    }
    return result;
  }

  // 0 if it has none, or one that is there. Thread ids do not come back here.
  std::uint32_t gone_owner_of(const Lock& lock) const {
    const std::uint32_t owner = owner_of(lock.word.now());
    return owner != 0 && machine_.is_gone(owner) ? owner : 0;
  }

  void give_back(unsigned number, const Role& role, Outcome result) {
    Lock& lock = machine_.lock(number);
    Guarded& guarded = guarded_[number];
    simulated::step();
    if (result == heirlock_inherited && role.repairs) {
      Algorithm::repaired(lock);
      guarded.is_for_an_heir = false;
    }
    guarded.inside = Guarded::nobody;
    if (role.abandons) {
      guarded.is_for_an_heir = true;
      Algorithm::abandon(lock);
    } else {
      Algorithm::release(lock);
    }
  }

  void come_in(unsigned number, Outcome result) {
    Guarded& guarded = guarded_[number];
    if (guarded.inside != Guarded::nobody && machine_.actor(guarded.inside).life == Life::alive)
      fail("two threads are inside");
    if (guarded.is_for_an_heir && result != heirlock_inherited)
      fail("an owner died or left it unrepaired, and the next one was not told");
    if (!guarded.is_for_an_heir && result == heirlock_inherited)
      fail("inherited, and nobody had died with it or left it unrepaired");
    guarded.inside = me();
  }

  // --- The schedule

  bool is_anybody_busy() const {
    for (unsigned thread = 0; thread < threads_; ++thread)
      if (machine_.is_busy(thread)) return true;
    return false;
  }
  bool is_anybody_able() const {
    for (unsigned thread = 0; thread < threads_; ++thread)
      if (machine_.can_go_on(thread)) return true;
    return false;
  }

  // A byte: who, and what comes over him.
  void take_a_turn() {
    const unsigned turn = bytes_.take();
    const unsigned thread = turn % threads_;
    const unsigned event = turn >> 2;
    if (event >= 56 && deaths_left_ > 0 && machine_.actor(thread).life == Life::alive)
      return kill(thread, misses_deaths_ && event >= 60 ? Death::missed : Death::treated);
    if (event >= 48 && machine_.is_asleep(thread)) return disturb(thread);
    for (unsigned steps = event % 8; go_on(thread) && steps > 0; --steps) continue;
    if (!is_anybody_able() && is_anybody_busy()) let_time_pass();
  }

  void kill(unsigned thread, Death death) {
    if (!machine_.is_busy(thread)) return;
    --deaths_left_;
    has_anybody_died_ = true;
    remember_owners();
    for (unsigned lock = 0; lock < 2; ++lock)
      if (owners_[lock] == machine_.actor(thread).thread.tid) guarded_[lock].is_for_an_heir = true;
    machine_.die(thread, death);
    check_invariants(thread);
  }

  // A sleeper's time is over, or it returns for no reason, as after a signal that was handled.
  void disturb(unsigned thread) {
    if (machine_.actor(thread).is_timed)
      machine_.end_time(thread);
    else
      machine_.actor(thread).sleeps_on = nullptr;
  }

  // One step. Returns whether there was one to make.
  bool go_on(unsigned thread) {
    if (!machine_.can_go_on(thread)) return false;
    if (++steps_ > most_steps) fail("the threads do not come to an end");
    remember_owners();
    machine_.go_on(thread);
    check_invariants(thread);
    return true;
  }

  // Everybody sleeps. A thread with limited time gives up; one behind an owner whose death was missed looks
  // for it. Nothing else may help.
  void let_time_pass() {
    for (unsigned thread = 0; thread < threads_; ++thread) {
      if (!machine_.is_asleep(thread)) continue;
      if (machine_.actor(thread).is_timed) return machine_.end_time(thread);
      for (unsigned lock = 0; lock < 2; ++lock) {
        const std::uint32_t owner = owner_of(machine_.lock(lock).word.now());
        if (machine_.actor(thread).sleeps_on == &machine_.lock(lock).word && owner != 0 &&
            machine_.is_gone(owner) && misses_deaths_)
          return machine_.end_slice(thread);
      }
    }
    if (is_anybody_frozen_by_a_missed_death()) return;
    fail("everybody sleeps, and nobody comes");
  }

  // A waiter that a wake-up was meant for, and whose death was missed, has passed it on to nobody: the slice
  // of the next one ends.
  bool is_anybody_frozen_by_a_missed_death() {
    if (!misses_deaths_ || !has_anybody_died_) return false;
    bool has_ended = false;
    for (unsigned thread = 0; thread < threads_; ++thread) {
      if (!machine_.is_asleep(thread)) continue;
      machine_.end_slice(thread);
      has_ended = true;
    }
    return has_ended;
  }

  // --- What must be true

  void remember_owners() {
    for (unsigned lock = 0; lock < 2; ++lock) owners_[lock] = owner_of(machine_.lock(lock).word.now());
  }

  void check_invariants(unsigned mover) const {
    for (unsigned number = 0; number < 2; ++number) {
      const Lock& lock = machine_.lock(number);
      const Guarded& guarded = guarded_[number];
      const bool is_held =
          guarded.inside != Guarded::nobody && machine_.actor(guarded.inside).life == Life::alive;
      const bool was_missed =
          owners_[number] != 0 && machine_.is_gone(owners_[number]);  // then bury() bends it
      const model::LockView view{lock.word.now(), lock.depth.now(), is_held, was_missed ? 0 : owners_[number],
                                 machine_.actor(mover).thread.tid};
      if (const char* const broken = broken_invariant(view)) fail(broken);
      for (unsigned thread = 0; thread < machine_.actors(); ++thread) check_invariants(view, lock, thread);
    }
  }

  void check_invariants(const model::LockView& view, const Lock& lock, unsigned thread) const {
    const Actor& actor = machine_.actor(thread);
    if (actor.life != Life::alive) return;
    const bool is_pending = actor.thread.pending == simulated::Platform::link_to(lock);
    const bool must_list = owner_of(view.word) == actor.thread.tid && !is_pending;
    const model::ThreadView relation{actor.thread.tid, actor.sleeps_on == &lock.word, is_pending,
                                     must_list && machine_.lists(actor, lock)};
    if (const char* const broken = broken_invariant(view, relation)) fail(broken);
  }

  void check_what_is_left() {
    for (unsigned thread = 0; thread < threads_; ++thread) {
      const Actor& actor = machine_.actor(thread);
      if (actor.life != Life::alive) continue;
      if (actor.thread.pending != 0) fail("a thread has ended with its pending mark set");
      if (actor.thread.first != simulated::Platform::head(actor.thread))
        fail("a thread has ended with a lock on its list");
    }
    const unsigned newcomer = machine_.begin_actor();
    machine_.begin(newcomer, [this] {
      for (unsigned lock = 0; lock < 2; ++lock) {
        const Outcome result = Algorithm::acquire(machine_.lock(lock), Deadline::passed);
        if (result == heirlock_not_acquired || result == heirlock_reentered)
          fail("nobody is left, and the lock cannot be had");
        come_in(lock, result);
      }
    });
    while (machine_.can_go_on(newcomer)) machine_.go_on(newcomer);
    if (machine_.is_busy(newcomer)) fail("nobody is left, and a newcomer sleeps");
  }

  [[noreturn]] void fail(const char* what) const {
    std::fprintf(stderr, "%s\nafter %u steps of %u threads\n", what, steps_, threads_);
    for (unsigned number = 0; number < 2; ++number)
      std::fprintf(stderr, "lock %u: word %#010" PRIx32 ", depth %" PRIu32 "\n", number,
                   machine_.lock(number).word.now(), machine_.lock(number).depth.now());
    for (unsigned thread = 0; thread < threads_; ++thread) {
      constexpr const char* lives[] = {"unborn", "alive", "dying", "gone"};
      const Actor& actor = machine_.actor(thread);
      const Role& role = roles_[thread];
      std::fprintf(stderr, "thread %" PRIu32 ": %s%s, lock %u, deadline %d%s%s%s%s\n", actor.thread.tid,
                   lives[static_cast<unsigned>(actor.life)], machine_.is_asleep(thread) ? ", asleep" : "",
                   role.lock, static_cast<int>(role.deadline), role.is_nested ? ", nested" : "",
                   role.repairs ? ", repairs" : "", role.abandons ? ", abandons" : "",
                   role.comes_again ? ", twice" : "");
    }
    std::abort();
  }

  Machine& machine_ = Machine::running();
  fuzz::Input& bytes_;
  unsigned threads_ = 0;
  unsigned deaths_left_ = 0;
  bool misses_deaths_ = false;
  std::array<Role, most_threads> roles_;
  std::array<Guarded, 2> guarded_;
  std::array<std::uint32_t, 2> owners_{};
  bool has_anybody_died_ = false;
  unsigned steps_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input bytes(data, size);
  Run(bytes).run();
  return 0;
}
