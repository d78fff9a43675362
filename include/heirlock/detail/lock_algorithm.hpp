// The lock's algorithm, a template over a Platform. SPECIFICATION.md explains it: the word (section 3), the
// invariants INV-... (section 4), each step (section 5) and the memory orders (section 6).
//
// The Platform supplies atomics, thread identity and system calls. The library uses LinuxPlatform; model
// checks, fuzz targets and tests compile this same file over Platforms of their own. Nothing here throws.
#ifndef HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP
#define HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP

#include <cstdint>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/heirlock.h"

namespace heirlock::detail_v0_1 {

// Above 0: success. 0: the lock is busy. Below 0: the operation was refused and changed nothing.
using Outcome = heirlock_outcome;
constexpr bool is_refused(Outcome outcome) {
  return outcome < heirlock_not_acquired;
}

enum class Order : std::uint8_t { relaxed, acquire, release };

// How a wait ended. A long wait is cut into slices. At the end of each, the waiter asks the kernel whether
// the owner still exists, in case the kernel did not mark the owner's death in the word.
enum class Wait : std::uint8_t { look_again, slice_ended };

// The word has the format of the kernel's robust futex (linux/futex.h): the owner's thread id and two flags.
// The lock is free when the thread id is 0, whatever the flags are. When a thread dies, the kernel replaces
// its id by OWNER_DIED in each lock on its robust list and in its pending lock, and wakes one sleeper.
inline constexpr std::uint32_t waiters_bit = 0x80000000;     // set while anyone sleeps, perhaps longer
inline constexpr std::uint32_t owner_died_bit = 0x40000000;  // cleared by repaired() alone
inline constexpr std::uint32_t owner_mask = 0x3fffffff;
inline constexpr std::uint32_t owner_of(std::uint32_t word) {
  return word & owner_mask;
}

// The 40 bytes of a lock. All zero is a free lock.
template <class Platform>
struct LockMemory {
  typename Platform::template Atomic<std::uint32_t> word{};
  typename Platform::template Plain<std::uint32_t> depth{};  // only the owner reads and writes it
  typename Platform::template Atomic<std::uint32_t> pid_namespace{};
  std::uint32_t reserved{};
  typename Platform::template Atomic<std::uint64_t> owner_id{};
  typename Platform::template Plain<typename Platform::Link> prev{};  // the owner's robust list
  typename Platform::template Plain<typename Platform::Link> next{};
};

template <class Platform>
class LockAlgorithm {
 public:
  using Lock = LockMemory<Platform>;
  using Thread = typename Platform::Thread;
  using Deadline = typename Platform::Deadline;

  // Memory orders. All others are relaxed. Section 6 of SPECIFICATION.md argues each and names the mutant in
  // verify/breaks that weakens it and is caught.
  static constexpr Order take = Order::acquire;            // brings in what the three below passed on
  static constexpr Order free_it = Order::release;         // passes on what this owner wrote
  static constexpr Order free_in_kernel = Order::release;  // a fence, as the kernel makes the store
  static constexpr Order bury_it = Order::release;         // passes on what owner_is_gone() brought in

  /// Takes the lock. Waits for it until the deadline.
  static Outcome acquire(Lock& lock, Deadline deadline) {
    Thread* me = Platform::known_thread();
    if (me != nullptr && has_my_id(lock, *me)) return reenter(lock);
    if (!Platform::is_admitted(me, lock.pid_namespace)) {  // a thread id is unique in one namespace only
      const Outcome outcome = Platform::admit(lock.pid_namespace);
      if (is_refused(outcome)) return outcome;
      me = Platform::known_thread();
    }
    bool asks = true;  // whether to ask the kernel, before giving up, if the owner still exists
    if (Platform::is_try(deadline)) {
      // A try that fails only reads the word, so the owner keeps the cache line. Few tries ask the kernel.
      const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
      asks = owner != 0;
      if (asks && owner != me->tid && !Platform::asks_this_time(*me)) return heirlock_not_acquired;
    }
    Platform::set_pending(*me, lock);  // INV-PENDING
    if (lock.word.compare_exchange(0, me->tid, take)) return taken(lock, *me, 0);
    return acquire_contended(lock, *me, deadline, asks);
  }

  /// Undoes one acquire. The last release frees the lock. Refused unless the caller owns the lock.
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
    // The lock may now belong to another thread, or its memory be unmapped: do not touch it any more.
    Platform::clear_pending(*me);
    return heirlock_done;
  }

  /// Whether the calling thread owns the lock.
  static bool is_owned(const Lock& lock) {
    const Thread* const me = Platform::known_thread();
    return me != nullptr && is_mine(lock, *me);
  }

  /// Clears OWNER_DIED: the data is whole again. Refused unless the caller owns the lock.
  static Outcome repaired(Lock& lock) {
    if (!is_owned(lock)) return heirlock_not_owner;
    std::uint32_t word = lock.word.load(Order::relaxed);
    while (!lock.word.compare_exchange(word, word & ~owner_died_bit, Order::relaxed))
      word = lock.word.load(Order::relaxed);  // a waiter set its bit
    return heirlock_done;
  }

  /// Frees the caller's lock at any depth, as the caller's death would: the next owner inherits.
  static void abandon(Lock& lock) {
    std::uint32_t word = lock.word.load(Order::relaxed);
    while (!lock.word.compare_exchange(word, word | owner_died_bit, Order::relaxed))
      word = lock.word.load(Order::relaxed);  // a waiter set its bit
    lock.depth.store(1);
    release(lock);
  }

 private:
  // Relaxed is enough. Only I write my id. If I own the lock, my id is the latest value. Otherwise my last
  // write here, if any, was its complement; coherence keeps me from reading an older value (INV-ID).
  // The word is not read: between the exchanges of acquire and release a read costs a third of one of them.
  static bool has_my_id(const Lock& lock, const Thread& me) {
    return lock.owner_id.load(Order::relaxed) == me.id;
  }

  // If I took the lock through another copy of the library in this process, owner_id is that copy's id for
  // me. Thread id and robust list are the same for both.
  static bool is_mine(const Lock& lock, const Thread& me) {
    return has_my_id(lock, me) || is_mine_by_list(lock, me, lock.word.load(Order::relaxed));
  }

  // If a dead owner had my thread id, its lock is not on my list.
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
    for (;;) {  // after every wait, try once more before the deadline counts: the wake-up may be the only one
      std::uint32_t word = lock.word.load(Order::relaxed);
      if (owner_of(word) == 0) {
        // Keep WAITERS, as others may sleep, and OWNER_DIED, until repaired().
        if (lock.word.compare_exchange(word, word | me.tid, take))
          return taken(lock, me, word & owner_died_bit);
        continue;
      }
      if (is_mine_by_list(lock, me, word)) {
        Platform::clear_pending(me);
        return reenter(lock);
      }
      if (owner_of(word) == me.tid) {  // not mine: a dead owner had my thread id
        bury(lock, word);
        continue;
      }
      if (Platform::has_passed(deadline)) {
        if (asks) {
          asks = false;
          bury_if_gone(lock, word);
          continue;
        }
        // I may have consumed the only wake-up and yet have read a word older than it: futexes order no
        // memory. If the compare-exchange succeeds, the word is the latest.
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

  // Backstop for a death that the kernel did not mark in the word. If it did, that was before the owner
  // counts as gone, and the exchange in bury() fails. owner_id tells a new owner with the same thread id
  // from the dead one, except within a few instructions (section 9 of SPECIFICATION.md).
  static void bury_if_gone(Lock& lock, std::uint32_t word) {
    const std::uint64_t id = lock.owner_id.load(Order::relaxed);
    if (Platform::owner_is_gone(owner_of(word)) && lock.owner_id.load(Order::relaxed) == id) bury(lock, word);
  }

  // Marks the death in the word, as the kernel should have (the exception of INV-OWNER). The second attempt
  // is for a word in which a waiter has just set WAITERS: this caller may have no time for another round.
  static void bury(Lock& lock, std::uint32_t word) {
    if (!lock.word.compare_exchange(word, (word & waiters_bit) | owner_died_bit, bury_it))
      lock.word.compare_exchange(word | waiters_bit, waiters_bit | owner_died_bit, bury_it);
  }

  // Frees a word with OWNER_DIED, which stays until repaired(), or WAITERS, or both.
  //
  // WAITERS is kept, because nothing else remembers the other sleepers: the next owner, when it releases or
  // dies, must wake one of them. If the word became 0, the woken thread would take the lock without WAITERS
  // and wake nobody. If the release stored 0 and then woke all, a kill between the two would leave them all
  // asleep. So only the kernel drops WAITERS, in the step that stores 0 and wakes every sleeper. A release
  // asks for it if an earlier wake-up by its thread found no sleeper (`quiet`) and OWNER_DIED is clear. While
  // OWNER_DIED is set, a later wake-up that finds one does not clear `quiet`: that costs one wake-up of all.
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

  // INV-LIST. I may die after any store, and the kernel then walks the list: finish a node before linking it.
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
