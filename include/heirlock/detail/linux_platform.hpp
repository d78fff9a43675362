// The Platform for Linux: atomics, the calling thread's identity, its robust list, and futexes.
//
// This header is also the contract of every Platform: LockAlgorithm uses no other members. The operations
// that enter the kernel are defined in src/linux_platform.cpp. None of them changes errno.
#ifndef HEIRLOCK_DETAIL_LINUX_PLATFORM_HPP
#define HEIRLOCK_DETAIL_LINUX_PLATFORM_HPP

#include <linux/futex.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/detail/lock_algorithm.hpp"

#if !defined(__linux__) || !defined(__LP64__) || !defined(__GLIBC__)
#error "heirlock needs 64-bit Linux with glibc: it shares the robust list of both"
#endif

#if HEIRLOCK_THREAD_SANITIZER
extern "C" void __tsan_release(void* address);
#endif

namespace heirlock::detail_v0_1 {

static_assert(waiters_bit == FUTEX_WAITERS && owner_died_bit == FUTEX_OWNER_DIED &&
              owner_mask == FUTEX_TID_MASK);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free,
              "an atomic with a hidden lock does not work between processes");

inline constexpr std::memory_order standard(Order order) noexcept {
  return order == Order::acquire   ? std::memory_order_acquire
         : order == Order::release ? std::memory_order_release
                                   : std::memory_order_relaxed;
}

// A failed compare_exchange is relaxed.
template <class T>
class LinuxAtomic {
 public:
  T load(Order order) const noexcept { return value_.load(standard(order)); }
  void store(T value, Order order) noexcept { value_.store(value, standard(order)); }
  bool compare_exchange(T expected, T desired, Order order) noexcept {
    return value_.compare_exchange_strong(expected, desired, standard(order), std::memory_order_relaxed);
  }
  std::uint32_t* futex() noexcept { return reinterpret_cast<std::uint32_t*>(&value_); }

 private:
  std::atomic<T> value_{};
};

// A field that only the owner of the lock reads and writes.
template <class T>
class LinuxPlain {
 public:
  T load() const noexcept { return value_; }
  void store(T value) noexcept { value_ = value; }

 private:
  T value_{};
};

// How a thread waits; all times in nanoseconds. Correctness does not depend on these numbers. TUNING.md in
// tests/bench has the measurements behind them.
//
// A waiter first spins, then sleeps in the kernel's queue. If it wakes and another thread has taken the lock
// again, it naps outside the queue before it sleeps there once more. While waiters nap, the owner's releases
// find nobody to wake and soon need no system call. An owner that keeps taking the lock back steps aside
// once per tenure, for a thread that it has woken.
struct WaitingPolicy {
  // 2 to 5 us of spinning give 0.9 of the best throughput of short sections; 25 us waste processor time in
  // long ones. The spin time adapts per thread: halved when spinning ended in sleep, doubled otherwise. Below
  // shortest_spin the thread does not spin, as on one processor, where the owner cannot run meanwhile; one in
  // spins_anew contended acquires tries again.
  std::int64_t shortest_spin = 250;
  std::int64_t longest_spin = 10'000;  // and the first
  std::uint32_t spins_anew = 32;
  std::uint32_t most_pauses = 128;  // between two looks, 1 to 5 us: a look takes the owner's cache line
  std::uint32_t most_looks = 100;   // in case the clock stands still

  // A nap lasts half the rest of the thread's usual wait, or half the time waited so far. It costs 8 us of
  // processor time, the owner's included. With 64 waiters, naps of at most 10 ms reach 0.92 of the throughput
  // of glibc's robust mutex, and of at most 5 ms 0.74; longer ones are unfair. The lock may be free while all
  // waiters nap.
  std::int64_t shortest_nap = 100'000;
  std::int64_t longest_nap = 10'000'000;

  // How long an owner keeps taking the lock back before it steps aside. 1 ms costs 0.03 of the throughput,
  // 4 ms 0.1 of the fairness.
  std::int64_t tenure = 2'000'000;
  std::int64_t aside = 200'000;  // with a processor free, a woken thread runs within 50 us

  // A waiter sleeps for a slice, then asks the kernel whether the owner is gone. That costs 30 to 40 us of
  // processor time: with the first slice less than 0.1 % of a processor. Each slice is twice as long as the
  // one before.
  std::int64_t first_slice = 50'000'000;
  std::int64_t longest_slice = 1'000'000'000;
};
inline constexpr WaitingPolicy policy;

// What a thread has learned about waiting; times in nanoseconds.
struct LinuxHabits {
  std::int64_t spin_time = policy.longest_spin;
  std::int64_t usual_wait = 0;     // average over acquires with a nap
  std::int64_t tenure_began = 0;   // a moment
  const void* woken_at = nullptr;  // the word of this thread's last wake-up
  std::uint32_t woken = 0;         // sleepers woken there since this thread last waited
  bool spinning_was_enough = false;
};

// A thread's record of itself. It is valid while `generation` equals that of the process.
struct LinuxThread {
  std::uint64_t generation = ~std::uint64_t{0};  // no process draws this number, and 0 is a wiped page's
  std::uint32_t tid = 0;
  std::uint32_t pid_namespace = 0;
  std::uint64_t id = 0;  // random, never 0; tells a thread from an earlier one with the same tid
  robust_list_head* robust_list = nullptr;
  // Locks at which this thread's last wake-up found nobody, in slots by address. A lost entry costs a system
  // call.
  const void* quiet[8] = {};
  std::uint32_t last_draw = 0;
  LinuxHabits habits;
};

// A process's record of itself. The kernel zeroes its page in every child that does not share its parent's
// memory (MADV_WIPEONFORK), so a child notices that it is another process however it was made.
struct LinuxProcess {
  std::atomic<std::uint64_t> generation{0};  // random
  std::atomic<std::uint32_t> pid_namespace{0};
};

static_assert(sizeof(LinuxThread) == 144 && sizeof(LinuxProcess) == 16,
              "copies of one minor version share these records: a new layout needs a new minor version");

// One of each in a process, also when the program is compiled with -fvisibility=hidden.
HEIRLOCK_VISIBLE inline thread_local LinuxThread this_thread_record HEIRLOCK_STATIC_TLS{};
HEIRLOCK_VISIBLE inline const LinuxProcess no_process_yet{};
HEIRLOCK_VISIBLE inline std::atomic<const LinuxProcess*> this_process{&no_process_yet};

// Only such numbers are drawn for an owner_id: a libc mutex never has one in the same place.
constexpr bool is_owner_id(std::uint64_t number) noexcept {
  return number >> 32 != 0;
}

struct LinuxPlatform {
  template <class T>
  using Atomic = LinuxAtomic<T>;
  template <class T>
  using Plain = LinuxPlain<T>;
  using Thread = LinuxThread;

  // --- Identity ---

  /// The calling thread's record. Null if the thread has used no lock yet, or none since its process was
  /// forked.
  static Thread* known_thread() noexcept {
    Thread& me = this_thread_record;
    const LinuxProcess* const process = this_process.load(std::memory_order_acquire);
    const bool is_known = me.generation == process->generation.load(std::memory_order_relaxed);
    return HEIRLOCK_UNLIKELY(!is_known) ? nullptr : &me;
  }
  /// Whether the caller has a record and the lock belongs to the caller's PID namespace.
  static bool is_admitted(const Thread* me, const Atomic<std::uint32_t>& of_lock) noexcept {
    return !HEIRLOCK_UNLIKELY(me == nullptr || of_lock.load(Order::relaxed) != me->pid_namespace);
  }
  /// Makes the caller's record if there is none. Gives the lock the caller's PID namespace if it has none
  /// yet. Refused, with a message in last_error: unsupported_platform, foreign_pid_namespace, no_memory or
  /// system_error.
  static Outcome admit(Atomic<std::uint32_t>& of_lock) noexcept;

  // --- The robust list (kernel: Documentation/locking/robust-futex-ABI.rst) ---
  //
  // libc registers one list per thread, which heirlock shares with libc's robust mutexes. SPECIFICATION.md
  // describes the format (section 5, Linking) and what the kernel does with the list when the thread dies
  // (section 7). The kernel sees these stores in program order.
  using Link = std::uintptr_t;

  template <class Lock>
  static void set_pending(Thread& me, const Lock& lock) noexcept {
    store_for_kernel(&me.robust_list->list_op_pending, link_to(lock));
  }
  static void clear_pending(Thread& me) noexcept { store_for_kernel(&me.robust_list->list_op_pending, 0); }

  template <class Lock>
  static Link link_to(const Lock& lock) noexcept {
    return reinterpret_cast<Link>(&lock.next);
  }
  static Link head(const Thread& me) noexcept { return reinterpret_cast<Link>(&me.robust_list->list.next); }
  static Link first(const Thread& me) noexcept { return next(head(me)); }
  static Link next(Link at) noexcept { return *reinterpret_cast<volatile Link*>(at & ~pi_mark); }
  static void set_next(Link at, Link to) noexcept {
    store_for_kernel(reinterpret_cast<void*>(at & ~pi_mark), to);
  }
  static std::uint64_t owner_id_at(Link at) noexcept {
    constexpr Link owner_id_from_node = 16;
    return *reinterpret_cast<volatile std::uint64_t*>((at & ~pi_mark) - owner_id_from_node);
  }
  /// Whether a lock on the calling thread's list has this owner_id. A libc mutex has its 32-bit kind and
  /// zeros in that place.
  static bool lists_owner_id(const Thread& me, std::uint64_t owner_id) noexcept {
    if (!is_owner_id(owner_id)) return false;
    Link at = first(me);
    while ((at & ~pi_mark) != head(me) && owner_id_at(at) != owner_id) at = next(at);
    return (at & ~pi_mark) != head(me);
  }
  /// Does nothing at the head: only glibc has memory for it there.
  static void set_prev(const Thread& me, Link at, Link to) noexcept {
    if ((at & ~pi_mark) != head(me)) *reinterpret_cast<Link*>((at & ~pi_mark) - sizeof(Link)) = to;
  }

  // --- Waiting (futex(2), without FUTEX_PRIVATE_FLAG) ---

  // A time of CLOCK_MONOTONIC, in nanoseconds.
  using Deadline = std::int64_t;
  static constexpr Deadline no_wait = 0;
  static constexpr Deadline for_ever = INT64_MAX;

  // The waiting state of one contended acquire.
  struct Patience {
    explicit Patience(Thread& thread) noexcept : me(thread) {}
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;
    /// Learns from this acquire.
    ~Patience();
    Thread& me;
    std::uint32_t pauses = 0;  // between the last two looks at the word
    std::uint32_t looks = 0;
    Deadline spin_end = no_wait;
    Deadline began = no_wait;  // when the first sleep began
    std::int64_t slice = policy.first_slice;
    Deadline slice_end = no_wait;  // a time, so that signals cannot postpone it
    bool was_woken = false;        // by the last wait
    bool has_napped = false;
  };

  /// Whether the caller asked for a try.
  static constexpr bool is_try(Deadline deadline) noexcept { return deadline == no_wait; }
  /// Whether the deadline has passed, or a signal ended an interruptible wait.
  static bool has_passed(Deadline deadline) noexcept;
  /// The time `nanoseconds` from now; `for_ever` if that does not fit.
  static Deadline deadline_after(std::int64_t nanoseconds) noexcept;

  /// May pause for a bounded time, so that a thread that the caller has woken takes the lock first.
  static void step_aside(Atomic<std::uint32_t>& word, Deadline deadline, Patience& patience) noexcept;

  /// Pauses and returns true if the caller should look again rather than sleep.
  static bool spin(Patience& patience) noexcept;

  /// If the word still is `seen`, queues the thread in the same step. Then sleeps until a wake-up, a signal,
  /// the deadline or the end of the slice; may also return without a reason. May instead nap, without being
  /// queued, for a bounded time and at most until the deadline.
  /// Returns `slice_ended` only if the slice ended the sleep, never if it consumed a wake-up.
  /// Orders no memory: the next read of the word may return a value older than the wake-up.
  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                   Patience& patience) noexcept;
  enum class Sleep : std::uint8_t { woken, timed_out, disturbed };
  /// As wait(), without slices and naps. `disturbed`: the word was not `seen`, or a signal came.
  static Sleep sleep(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline) noexcept;

  /// Whether a failing try asks the kernel if the owner still exists: one in 64, as asking costs more than
  /// trying. Drawn at random: with a counter, a thread that polls several locks in turn might never ask for
  /// one of them.
  static bool asks_this_time(Thread& me) noexcept { return HEIRLOCK_UNLIKELY(one_in(64, me)); }

  /// Wakes one sleeper, of the kernel's choice. Returns how many it woke. The lock's memory may be unmapped
  /// already. Orders no memory.
  static int wake_one(Atomic<std::uint32_t>& word) noexcept;

  /// Stores 0 and wakes every sleeper, in one step. Orders no memory: call fence() first.
  static void clear_and_wake_all(Atomic<std::uint32_t>& word) noexcept;

  /// The slot in which the thread notes a lock at which its last wake-up found nobody asleep.
  template <class Lock>
  static const void*& quiet(Thread& me, const Lock& lock) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&lock);
    return me.quiet[((address >> 12) ^ (address >> 5)) % std::size(me.quiet)];
  }

  /// Orders earlier memory accesses before the kernel's store in clear_and_wake_all().
  static void fence([[maybe_unused]] Atomic<std::uint32_t>& word, Order order) noexcept {
#if HEIRLOCK_THREAD_SANITIZER
    if (order == Order::release) __tsan_release(&word);  // which sees neither fences nor the kernel's stores
#else
    std::atomic_thread_fence(standard(order));
#endif
  }

  /// Whether no live thread `tid` of the caller's PID namespace can own a lock: there is none, or it has no
  /// robust list, because it has just started or called exec. False if the kernel does not tell.
  /// Acquires what the dead thread wrote. The caller's earlier reads happen before the question, its later
  /// ones after it.
  static bool owner_is_gone(std::uint32_t tid) noexcept;

 private:
  // True at random, once in `number` calls. The generator is Numerical Recipes' "quick and dirty" one.
  static bool one_in(std::uint32_t number, Thread& me) noexcept {
    me.last_draw = me.last_draw * 1664525 + 1013904223;
    return me.last_draw < UINT32_MAX / number;
  }

  static constexpr Link pi_mark = 1;  // in a link to a priority-inheritance mutex
  static void store_for_kernel(void* at, Link value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *static_cast<volatile Link*>(at) = value;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
};

// libc tells the kernel the distance from a list node to its word; in a lock the node is `next`.
using LinuxLock = LockMemory<LinuxPlatform>;
inline constexpr std::int64_t word_from_node = -32;
static_assert(sizeof(LinuxLock) == 40 && alignof(LinuxLock) == 8);
static_assert(offsetof(LinuxLock, word) == 0 && offsetof(LinuxLock, depth) == 4 &&
              offsetof(LinuxLock, pid_namespace) == 8 && offsetof(LinuxLock, owner_id) == 16 &&
              offsetof(LinuxLock, owner_id) == offsetof(LinuxLock, next) - 16 &&
              offsetof(LinuxLock, prev) == 24 && offsetof(LinuxLock, next) == -word_from_node);

/// Writes the message for a refusal by the algorithm: `call` names the operation. Returns the outcome.
HEIRLOCK_COLD Outcome explained(Outcome outcome, const LinuxLock& lock, const char* call) noexcept;

/// As LockAlgorithm's acquire, but refused with `interrupted` if a signal handler ran in the calling thread
/// while it slept and the lock is still busy. A handler that runs just before the sleep goes unnoticed.
Outcome acquire_interruptible(LinuxLock& lock, LinuxPlatform::Deadline deadline) noexcept;

/// Acquires a lock private to the process, which is free again in each child. Refused as admit() is.
/// The owner may die, or not exist in a child: data under it must be consistent after every store.
Outcome hold_process(LinuxLock*& lock) noexcept;

}  // namespace heirlock::detail_v0_1
#endif
