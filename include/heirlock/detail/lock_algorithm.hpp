// The protocol of heirlock, written once over a Platform. SPECIFICATION.md states it in words.
//
// No system call, no atomic type and no checker is named here: the Platform supplies them. The library
// instantiates this file over Linux; model checks, fuzz targets and tests instantiate the very same text.
#ifndef HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP
#define HEIRLOCK_DETAIL_LOCK_ALGORITHM_HPP

#include <cstdint>

#include "heirlock/detail/attributes.hpp"

namespace heirlock {

/// What an acquire came to.
enum class AcquireResult : std::uint8_t {
  not_acquired,  ///< busy, or the deadline passed
  acquired,      ///< was free, now yours at depth 1
  reentered,     ///< was yours already, one deeper
  inherited,  ///< its last owner died, or released it unrepaired; yours at depth 1, state may be half-written
};

namespace detail {

enum class Order : std::uint8_t { relaxed, acquire, release };

// Why an operation is refused. Nothing has changed when it is.
enum class Refusal : std::uint8_t { not_owner_of_release, not_owner_of_repaired, recursion_too_deep };

// How a wait ended. `slice_ended` is the backstop's: time to ask whether the owner still exists.
enum class Wait : std::uint8_t { look_again, slice_ended };

// The word, as the kernel's robust futexes define it (linux/futex.h):
//
//   owner  OWNER_DIED  WAITERS
//     0        0          0      free
//     0        0          1      free; somebody may be asleep, and then a wake-up is on its way
//     0        1         any     free, to be inherited
//     t        0         any     held by t
//     t        1         any     held by t, who inherited it and has not called repaired()
//
// Free means that the owner part is 0, never that the word is.
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

// Invariants, cited below where they are kept or bent:
//   INV-OWNER    only t moves the owner part away from t; except the kernel when t dies, and bury().
//   INV-WAITERS  whoever sleeps on the word does so with WAITERS set; nobody begins to sleep on a free word.
//   INV-PENDING  the pending mark names the lock from before the first take, wait or freeing store until the
//                operation ends, also while asleep, and is cleared on every way out.
//   INV-LIST     a held lock is on its owner's robust list, or is pending.
//   INV-DEPTH    depth >= 1 while held, except inside a take, which sets it to 1 whatever it was.
//   INV-ID       owner_id is t's while t holds the lock, except inside t's take and release; never else while
//                t lives. A release leaves the complement rather than 0: no two owners leave the same, on
//                which bury_if_gone() relies.
template <class Platform>
class LockAlgorithm {
 public:
  using Lock = LockMemory<Platform>;
  using Thread = typename Platform::Thread;
  using Deadline = typename Platform::Deadline;

  // Memory orders. What is not named here is relaxed. SPECIFICATION.md, section 6, names for each the mutant
  // of verify/breaks that shows what happens without it.
  //
  // take: acquire. Pairs with free_it, free_in_kernel and bury_it.
  //   Brings in: everything the last owner wrote under the lock.
  //   If relaxed: the next owner reads stale data.
  //   Not stronger: no second location is ordered by it.
  static constexpr Order take = Order::acquire;
  // free_it: release. Pairs with take.
  //   Sends out: everything written under the lock, by this owner and by those before it.
  //   If relaxed: the next owner reads stale data.
  static constexpr Order free_it = Order::release;
  // free_in_kernel: a release fence, as the store that follows is the kernel's. Pairs with take.
  static constexpr Order free_in_kernel = Order::release;
  // bury_it: release. Pairs with take, of a thread other than the one that saw the owner gone.
  //   Sends out: what the dead owner wrote; the Platform's owner_is_gone() brought it in.
  static constexpr Order bury_it = Order::release;

  /// Takes the lock, waiting for it until the deadline.
  static AcquireResult acquire(Lock& lock, Deadline deadline) {
    Thread& me = Platform::this_thread();
    if (has_my_id(lock, me)) return reenter(lock);
    Platform::require_same_pid_namespace(lock.pid_namespace, me);  // two namespaces share thread ids
    Platform::set_pending(me, lock);                               // INV-PENDING
    // A try looks first: to fail, it need not take the cache line from the owner.
    const bool may_be_free = !Platform::is_try(deadline) || lock.word.load(Order::relaxed) == 0;
    if (may_be_free && lock.word.compare_exchange(0, me.tid, take)) return taken(lock, me, 0);
    return acquire_contended(lock, me, deadline);
  }

  /// Gives back one level; the last one frees the lock. Refused unless the caller owns it.
  static void release(Lock& lock) {
    Thread* const me = Platform::known_thread();
    if (me == nullptr || !is_mine(lock, *me)) Platform::refuse(Refusal::not_owner_of_release, lock);
    const std::uint32_t depth = lock.depth.load();
    if (depth > 1) return lock.depth.store(depth - 1);
    Platform::set_pending(*me, lock);  // INV-PENDING, and INV-LIST from the next line on
    unlink(lock, *me);
    lock.owner_id.store(~me->id, Order::relaxed);  // INV-ID
    if (!lock.word.compare_exchange(me->tid, 0, free_it)) free_marked(lock, *me);
    // From here on the lock is another's, or gone: not a byte of it is touched.
    Platform::clear_pending(*me);
  }

  /// Whether the calling thread owns the lock.
  static bool is_owned(const Lock& lock) {
    const Thread* const me = Platform::known_thread();
    return me != nullptr && is_mine(lock, *me);
  }

  /// Declares the state whole: the next owner does not inherit. Refused unless the caller owns the lock.
  static void repaired(Lock& lock) {
    if (!is_owned(lock)) Platform::refuse(Refusal::not_owner_of_repaired, lock);
    std::uint32_t word = lock.word.load(Order::relaxed);
    while (!lock.word.compare_exchange(word, word & ~owner_died_bit, Order::relaxed))
      word = lock.word.load(Order::relaxed);  // a waiter set its bit
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

  // To another copy of the library in the process I have another id, but the same thread id and list. It may
  // have mapped the lock elsewhere: so the list is searched for the id that the lock shows, not for its
  // address.
  static bool is_mine(const Lock& lock, const Thread& me) {
    return has_my_id(lock, me) || is_mine_by_list(lock, me, lock.word.load(Order::relaxed));
  }

  // A dead owner's lock, whose thread id has come to me, is not on my list.
  static bool is_mine_by_list(const Lock& lock, const Thread& me, std::uint32_t word) {
    return owner_of(word) == me.tid && Platform::lists_owner_id(me, lock.owner_id.load(Order::relaxed));
  }

  static AcquireResult reenter(Lock& lock) {
    const std::uint32_t depth = lock.depth.load();
    if (depth == UINT32_MAX) Platform::refuse(Refusal::recursion_too_deep, lock);
    lock.depth.store(depth + 1);
    return AcquireResult::reentered;
  }

  static AcquireResult taken(Lock& lock, Thread& me, std::uint32_t flag) {
    link(lock, me);
    Platform::clear_pending(me);
    lock.owner_id.store(me.id, Order::relaxed);
    lock.depth.store(1);  // INV-DEPTH
    return flag != 0 ? AcquireResult::inherited : AcquireResult::acquired;
  }

  HEIRLOCK_NOINLINE static AcquireResult acquire_contended(Lock& lock, Thread& me, Deadline deadline) {
    typename Platform::Patience patience;
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
        // A wake-up that has come may be the only one, and brings no newer word with it: what was read may be
        // older. A compare-exchange knows.
        if (has_slept && !lock.word.compare_exchange(word, word, Order::relaxed)) continue;
        if (!Platform::asks_before_giving_up(deadline, patience)) break;
        bury_if_gone(lock, word);
        continue;
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
    return AcquireResult::not_acquired;
  }

  // Backstop. If the kernel's walk missed no lock, the owner's death is in the word before the owner is gone,
  // and the compare-exchange fails. A new owner that has been given the same thread id since, and has brought
  // the word back to the same value, is told by owner_id: but for the few instructions between, of which
  // section 9 of SPECIFICATION.md speaks.
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

}  // namespace detail
}  // namespace heirlock
#endif
