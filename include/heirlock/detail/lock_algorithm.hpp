// The protocol of heirlock, written once over a Platform. SPECIFICATION.md states it in words.
//
// No system call, no atomic type and no checker is named here: the Platform supplies them. The library
// instantiates this file over Linux; model checks, fuzz targets and tests instantiate the very same text.
// Nothing here throws: an operation returns its Outcome, a refusal included.
#ifndef HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP
#define HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP

#include <cstdint>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/heirlock.h"

namespace heirlock::detail_v0_1 {

// Above 0 the operation did what its name says, 0 means busy, below 0 it was refused and has changed nothing.
using Outcome = heirlock_outcome;
constexpr bool is_refused(Outcome outcome) {
  return outcome < heirlock_not_acquired;
}

enum class Order : std::uint8_t { relaxed, acquire, release };

// How a wait ended. `slice_ended` is the backstop's: time to ask whether the owner still exists.
enum class Wait : std::uint8_t { look_again, slice_ended };

// The word is the kernel's robust futex (linux/futex.h); section 3 of SPECIFICATION.md says what its values
// mean. Free means that the owner part is 0, never that the word is.
inline constexpr std::uint32_t waiters_bit = 0x80000000;     // may be set in vain, may never be missing
inline constexpr std::uint32_t owner_died_bit = 0x40000000;  // cleared by repaired() alone
inline constexpr std::uint32_t owner_mask = 0x3fffffff;
inline constexpr std::uint32_t owner_of(std::uint32_t word) {
  return word & owner_mask;
}

// A lock in memory; SPECIFICATION.md gives its bytes. All zero is a free lock.
template <class Platform>
struct LockMemory {
  typename Platform::template Atomic<std::uint32_t> word{};
  typename Platform::template Plain<std::uint32_t> depth{};  // written and read by the owner only
  typename Platform::template Atomic<std::uint32_t> pid_namespace{};
  std::uint32_t reserved{};
  typename Platform::template Atomic<std::uint64_t> owner_id{};
  typename Platform::template Plain<typename Platform::Link> prev{};  // the owner's robust list
  typename Platform::template Plain<typename Platform::Link> next{};
};

// INV-OWNER and the other invariants cited below stand in section 4 of SPECIFICATION.md.
template <class Platform>
class LockAlgorithm {
 public:
  using Lock = LockMemory<Platform>;
  using Thread = typename Platform::Thread;
  using Deadline = typename Platform::Deadline;

  // Memory orders; what is not named here is relaxed. SPECIFICATION.md, section 6, gives the partner and the
  // reason of each, and the mutant of verify/breaks that shows what happens without it.
  static constexpr Order take = Order::acquire;            // brings in what all the others send out
  static constexpr Order free_it = Order::release;         // what this owner wrote, and those before it
  static constexpr Order free_in_kernel = Order::release;  // a fence: the store that follows is the kernel's
  static constexpr Order bury_it =
      Order::release;  // what the dead owner wrote; owner_is_gone() brought it in

  /// Takes the lock, waiting for it until the deadline.
  static Outcome acquire(Lock& lock, Deadline deadline) {
    Thread* me = Platform::known_thread();
    if (me != nullptr && has_my_id(lock, *me)) return reenter(lock);
    if (!Platform::is_admitted(me, lock.pid_namespace)) {  // two namespaces share thread ids
      const Outcome outcome = Platform::admit(lock.pid_namespace);
      if (is_refused(outcome)) return outcome;
      me = Platform::known_thread();
    }
    bool asks = true;  // after the owner, before it gives up
    if (Platform::is_try(deadline)) {
      // To fail, a try need not take the cache line from the owner. Few of many ask after the owner.
      const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
      asks = owner != 0;
      if (asks && owner != me->tid && !Platform::asks_this_time(*me)) return heirlock_not_acquired;
    }
    Platform::set_pending(*me, lock);  // INV-PENDING
    if (lock.word.compare_exchange(0, me->tid, take)) return taken(lock, *me, 0);
    return acquire_contended(lock, *me, deadline, asks);
  }

  /// Gives back one level; the last one frees the lock. Refused unless the caller owns it.
  static Outcome release(Lock& lock) {
    Thread* const me = Platform::known_thread();
    if (me == nullptr || !is_mine(lock, *me)) return heirlock_not_owner;
    const std::uint32_t depth = lock.depth.load();
    if (depth > 1) {
      lock.depth.store(depth - 1);
      return heirlock_done;
    }
    Platform::set_pending(*me, lock);  // INV-PENDING, and INV-LIST from the next line on
    unlink(lock, *me);
    lock.owner_id.store(~me->id, Order::relaxed);  // INV-ID
    if (!lock.word.compare_exchange(me->tid, 0, free_it)) free_marked(lock, *me);
    // From here on the lock is another's, or gone: not a byte of it is touched.
    Platform::clear_pending(*me);
    return heirlock_done;
  }

  /// Whether the calling thread owns the lock.
  static bool is_owned(const Lock& lock) {
    const Thread* const me = Platform::known_thread();
    return me != nullptr && is_mine(lock, *me);
  }

  /// Declares the state whole: the next owner does not inherit. Refused unless the caller owns the lock.
  static Outcome repaired(Lock& lock) {
    if (!is_owned(lock)) return heirlock_not_owner;
    std::uint32_t word = lock.word.load(Order::relaxed);
    while (!lock.word.compare_exchange(word, word & ~owner_died_bit, Order::relaxed))
      word = lock.word.load(Order::relaxed);  // a waiter set its bit
    return heirlock_done;
  }

  /// Gives up the lock at any depth as the caller's death would: the next owner inherits. The caller owns it.
  static void abandon(Lock& lock) {
    std::uint32_t word = lock.word.load(Order::relaxed);
    while (!lock.word.compare_exchange(word, word | owner_died_bit, Order::relaxed))
      word = lock.word.load(Order::relaxed);  // a waiter set its bit
    lock.depth.store(1);
    release(lock);
  }

 private:
  // Relaxed is enough. Nobody else writes my id. If I own the lock, it is the last that was written. If I do
  // not, I have never written it, or its complement after it: no read of mine finds what is older (INV-ID).
  // The word is not asked: to read it between two read-modify-writes of it costs as much as half of one.
  static bool has_my_id(const Lock& lock, const Thread& me) {
    return lock.owner_id.load(Order::relaxed) == me.id;
  }

  // To another copy of the library I have another id, but the same thread id and list. It may have mapped the
  // lock elsewhere: so the list is searched for the id that the lock shows, not for its address.
  static bool is_mine(const Lock& lock, const Thread& me) {
    return has_my_id(lock, me) || is_mine_by_list(lock, me, lock.word.load(Order::relaxed));
  }

  // A dead owner's lock, whose thread id has come to me, is not on my list.
  static bool is_mine_by_list(const Lock& lock, const Thread& me, std::uint32_t word) {
    return owner_of(word) == me.tid && Platform::lists_owner_id(me, lock.owner_id.load(Order::relaxed));
  }

  static Outcome reenter(Lock& lock) {
    const std::uint32_t depth = lock.depth.load();
    if (depth == UINT32_MAX) return heirlock_recursion_too_deep;
    lock.depth.store(depth + 1);
    return heirlock_reentered;
  }

  static Outcome taken(Lock& lock, Thread& me, std::uint32_t flag) {
    link(lock, me);
    Platform::clear_pending(me);
    lock.owner_id.store(me.id, Order::relaxed);
    lock.depth.store(1);  // INV-DEPTH
    return flag != 0 ? heirlock_inherited : heirlock_acquired;
  }

  HEIRLOCK_NOINLINE static Outcome acquire_contended(Lock& lock, Thread& me, Deadline deadline, bool asks) {
    typename Platform::Patience patience(me);
    Platform::step_aside(lock.word, deadline, patience);
    bool has_slept = false;
    for (;;) {  // after every wait, whatever ended it: look, try once more, and only then mind the deadline
      std::uint32_t word = lock.word.load(Order::relaxed);
      if (owner_of(word) == 0) {
        // Keeps WAITERS for those who still sleep, and OWNER_DIED until repaired().
        if (lock.word.compare_exchange(word, word | me.tid, take))
          return taken(lock, me, word & owner_died_bit);
        continue;
      }
      if (is_mine_by_list(lock, me, word)) {
        Platform::clear_pending(me);
        return reenter(lock);
      }
      if (owner_of(word) == me.tid) {  // not mine: a dead owner's thread id has come to me
        bury(lock, word);
        continue;
      }
      if (Platform::has_passed(deadline)) {
        if (asks) {
          asks = false;
          bury_if_gone(lock, word);
          continue;
        }
        // A wake-up that has come may be the only one, and brings no newer word with it: what was read may be
        // older. A compare-exchange knows.
        if (has_slept && !lock.word.compare_exchange(word, word, Order::relaxed)) continue;
        break;
      }
      if (Platform::spin(patience)) continue;
      if ((word & waiters_bit) == 0) {  // INV-WAITERS
        if (!lock.word.compare_exchange(word, word | waiters_bit, Order::relaxed)) continue;
        word |= waiters_bit;
      }
      has_slept = true;
      if (Platform::wait(lock.word, word, deadline, patience) == Wait::slice_ended) bury_if_gone(lock, word);
    }
    Platform::clear_pending(me);
    return heirlock_not_acquired;
  }

  // Backstop. If the kernel's walk missed no lock, the owner's death is in the word before the owner is gone,
  // and the compare-exchange fails. A new owner with the same thread id and word is told by owner_id: but for
  // the few instructions between, of which section 9 of SPECIFICATION.md speaks.
  static void bury_if_gone(Lock& lock, std::uint32_t word) {
    const std::uint64_t id = lock.owner_id.load(Order::relaxed);
    if (Platform::owner_is_gone(owner_of(word)) && lock.owner_id.load(Order::relaxed) == id) bury(lock, word);
  }

  // Bends INV-OWNER: the owner is gone and the kernel has not said so in the word. Meanwhile a waiter may
  // have set its bit, and this caller may have no time left for another look.
  static void bury(Lock& lock, std::uint32_t word) {
    if (!lock.word.compare_exchange(word, (word & waiters_bit) | owner_died_bit, bury_it))
      lock.word.compare_exchange(word | waiters_bit, waiters_bit | owner_died_bit, bury_it);
  }

  // OWNER_DIED is set, and passed on until repaired(); or WAITERS is. While that stays, the word itself
  // remembers the sleepers, and whoever frees the lock next, by a release or by dying, wakes one. After a
  // plain 0 the one that is woken takes a lock that shows no others, and wakes none in turn; and waking all
  // in turn, one kill between the 0 and the last would leave the rest asleep for ever. So the bit is dropped
  // only by the kernel, in the same step that wakes everybody, and only after a wake-up found nobody.
  HEIRLOCK_NOINLINE static void free_marked(Lock& lock, Thread& me) {
    const std::uint32_t word = lock.word.load(Order::relaxed);
    const std::uint32_t flag = word & owner_died_bit;
    if ((word & waiters_bit) == 0 && lock.word.compare_exchange(word, flag, free_it)) return;
    const void*& quiet = Platform::quiet(me, lock);
    if (quiet == &lock && flag == 0) {
      quiet = nullptr;
      Platform::fence(lock.word, free_in_kernel);
      Platform::clear_and_wake_all(lock.word);
    } else {
      lock.word.store(flag | waiters_bit, free_it);
      if (Platform::wake_one(lock.word) == 0) quiet = &lock;
    }
  }

  // INV-LIST. The kernel may walk the list after any of these stores: a node is whole before it is published.
  static void link(Lock& lock, Thread& me) {
    const auto first = Platform::first(me);
    lock.next.store(first);
    lock.prev.store(Platform::head(me));
    Platform::set_prev(me, first, Platform::link_to(lock));
    Platform::set_next(Platform::head(me), Platform::link_to(lock));
  }

  static void unlink(Lock& lock, Thread& me) {
    const auto prev = lock.prev.load();
    const auto next = lock.next.load();
    Platform::set_next(prev, next);
    Platform::set_prev(me, next, prev);
  }
};

}  // namespace heirlock::detail_v0_1
#endif
