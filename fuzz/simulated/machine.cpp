#include "simulated/machine.hpp"

#include <new>
#include <utility>

namespace simulated {

using heirlock::detail::owner_died_bit;
using heirlock::detail::owner_of;
using heirlock::detail::waiters_bit;

Machine& Machine::running() {
  static Machine machine;
  return machine;
}

void Machine::reset(fuzz::Input& choices) {
  for (Lock& lock : locks_) ::new (&lock) Lock();
  for (Actor& actor : actors_) actor = Actor();
  for (Fiber& fiber : fibers_)
    if (fiber.has_job()) fiber.abandon();
  actors_begun_ = 0;
  current_ = nobody;
  next_tid_ = 100;
  next_id_ = 1000;
  choices_ = &choices;
}

unsigned Machine::begin_actor(std::uint32_t tid) {
  Actor& actor = actors_[actors_begun_];
  actor.life = Life::alive;
  actor.thread.tid = tid != 0 ? tid : next_tid_++;
  actor.thread.id = next_id_++;
  actor.thread.first = Platform::head(actor.thread);
  return actors_begun_++;
}

bool Machine::lists(const Actor& actor, const Lock& lock) const {
  for (Link at = actor.thread.first; at != Platform::head(actor.thread);
       at = Platform::lock_at(at).next.now())
    if (at == Platform::link_to(lock)) return true;
  return false;
}

void Machine::begin(unsigned actor, std::function<void()> job) {
  current_ = actor;
  fibers_[actor].begin(std::move(job));
  current_ = nobody;
}

void Machine::go_on(unsigned actor) {
  current_ = actor;
  fibers_[actor].go_on();
  current_ = nobody;
}

void Machine::die(unsigned number, Death death) {
  Actor& actor = actors_[number];
  if (fibers_[number].has_job()) fibers_[number].abandon();
  actor.is_stopped = false;
  actor.sleeps_on = nullptr;
  actor.life = Life::gone;
  if (death == Death::missed) return;
  current_ = number;
  exit_walk();
}

void Machine::stop(unsigned actor) {
  actors_[actor].is_stopped = true;
  actors_[actor].sleeps_on = nullptr;
}

void Machine::end_time(unsigned actor) {
  actors_[actor].time_is_over = true;
  actors_[actor].sleeps_on = nullptr;
}

void Machine::end_slice(unsigned actor) {
  actors_[actor].slice_is_over = true;
  actors_[actor].sleeps_on = nullptr;
}

void Machine::sleep(const void* word) {
  if (!is_busy(current_)) throw SleepsOutsideOfAJob{};
  me().sleeps_on = word;
  Fiber::pause();
}

// Which of them is woken is nobody's promise.
int Machine::wake(const void* word, int count) {
  int woken = 0;
  for (; woken < count; ++woken) {
    unsigned sleepers[most_actors];
    unsigned found = 0;
    for (unsigned actor = 0; actor < actors_begun_; ++actor)
      if (actors_[actor].sleeps_on == word) sleepers[found++] = actor;
    if (found == 0) break;
    actors_[sleepers[choices_->choose(found)]].sleeps_on = nullptr;
  }
  return woken;
}

bool Machine::is_gone(std::uint32_t tid) const {
  for (const Actor& actor : actors_)
    if (actor.thread.tid == tid && actor.life == Life::alive) return false;
  return true;
}

// kernel/futex/core.c, exit_robust_list(): the list first, then the pending lock, each treated once.
void Machine::exit_walk() {
  Thread& thread = me().thread;
  for (Link at = thread.first; at != Platform::head(thread);) {
    const Link next = Platform::lock_at(at).next.now();  // read before: an heir may link the lock anew
    if (at != thread.pending) treat(Platform::lock_at(at), false);
    at = next;
  }
  if (thread.pending != 0) treat(Platform::lock_at(thread.pending), true);
}

// handle_futex_death() there.
void Machine::treat(Lock& lock, bool is_pending) {
  std::uint32_t& word = lock.word.now();
  const std::uint32_t found = word;
  if (owner_of(found) == me().thread.tid) {
    word = (found & waiters_bit) | owner_died_bit;
    if ((found & waiters_bit) != 0) wake(&lock.word, 1);
  } else if (is_pending && owner_of(found) == 0) {
    wake(&lock.word, 1);
  }
}

// --- The platform

Thread* Platform::known_thread() {
  Thread& me = Machine::running().me().thread;
  return me.has_used_a_lock ? &me : nullptr;
}

Outcome Platform::admit(Atomic<std::uint32_t>&) {
  Machine::running().me().thread.has_used_a_lock = true;
  return heirlock_done;
}

void Platform::set_pending(Thread& me, const Lock& lock) {
  me.pending = link_to(lock);
}

void Platform::clear_pending(Thread& me) {
  me.pending = 0;
}

bool Platform::lists_owner_id(const Thread& me, std::uint64_t owner_id) {
  Link at = me.first;
  while (at != head(me) && lock_at(at).owner_id.now() != owner_id) at = lock_at(at).next.now();
  return at != head(me);
}

void Platform::set_next(Link at, Link to) {
  Thread& me = Machine::running().me().thread;
  if (at != head(me)) return lock_at(at).next.store(to);
  me.first = to;
}

void Platform::set_prev(const Thread& me, Link at, Link to) {
  if (at != head(me)) lock_at(at).prev.store(to);
}

bool Platform::has_passed(Deadline deadline) {
  if (deadline != Deadline::passes_at_some_time) return deadline == Deadline::passed;
  return Machine::running().me().time_is_over;
}

Wait Platform::wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline, Patience&) {
  Machine& machine = Machine::running();
  if (word.now() != seen) return Wait::look_again;
  machine.sleep(&word);
  return std::exchange(machine.me().slice_is_over, false) ? Wait::slice_ended : Wait::look_again;
}

int Platform::wake_one(Atomic<std::uint32_t>& word) {
  return Machine::running().wake(&word, 1);
}

void Platform::clear_and_wake_all(Atomic<std::uint32_t>& word) {
  word.now() = 0;
  Machine::running().wake(&word, Machine::most_actors);
}

bool Platform::owner_is_gone(std::uint32_t tid) {
  return Machine::running().is_gone(tid);
}

}  // namespace simulated
