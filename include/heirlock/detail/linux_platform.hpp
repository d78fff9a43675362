// What the lock needs from Linux: atomics, who the calling thread is, its robust list, and futexes.
//
// This header is also the contract of a Platform: LockAlgorithm uses these members and no others. Operations
// that enter the kernel stand in src/linux_platform.cpp. None of them changes errno.
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
#error "heirlock: found a target that is not 64-bit Linux with glibc; the lock shares the robust list of both"
#endif

#if HEIRLOCK_THREAD_SANITIZER
extern "C" void __tsan_release(void* address);
#endif

namespace heirlock::detail_v0_1 {

static_assert(waiters_bit == FUTEX_WAITERS && owner_died_bit == FUTEX_OWNER_DIED &&
              owner_mask == FUTEX_TID_MASK);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free,
              "a lock shared between processes cannot hide another lock inside");

inline constexpr std::memory_order standard(Order order) noexcept {
  return order == Order::acquire   ? std::memory_order_acquire
         : order == Order::release ? std::memory_order_release
                                   : std::memory_order_relaxed;
}

// An atomic of the lock. Every operation names its order; a failed compare_exchange orders nothing.
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

// A field that only the lock's owner reads and writes.
template <class T>
class LinuxPlain {
 public:
  T load() const noexcept { return value_; }
  void store(T value) noexcept { value_ = value; }

 private:
  T value_{};
};

// How a thread waits, in nanoseconds. No proof rests on it: any other pauses are as right. TUNING.md has the
// measurements that chose the numbers.
//
// A waiter spins, then sleeps in the kernel's queue. If it was woken in vain, since the lock was taken again
// before it came, it naps outside the queue before it sleeps there again. While it naps, the owner's releases
// soon find nobody to wake and cost no system call. An owner that keeps taking the lock back steps aside once
// in a tenure for a thread that it has woken.
struct WaitingPolicy {
  // Spinning pays where sections are short: 2 to 5 us reach 0.9 of the throughput, 25 us burn processors in
  // long sections. Spinning that ends in sleep is halved, and below the shortest left out: on one processor
  // the owner cannot run meanwhile. One contended acquire in so many tries it anew.
  std::int64_t shortest_spin = 250;
  std::int64_t longest_spin = 10'000;  // and the first
  std::uint32_t spins_anew = 32;
  std::uint32_t most_pauses = 128;  // between two looks, 1 to 5 us: each takes the cache line from the owner
  std::uint32_t most_looks = 100;   // if the clock stands still

  // A nap is half of what is left of the usual wait, or of the time waited so far. Each costs 8 us of the
  // owner's and another processor's time. With 64 waiters naps of at most 5 ms leave 0.74 of the throughput
  // that naps of 10 ms reach 0.92 of; longer ones are unfair. All may nap while the lock is free.
  std::int64_t shortest_nap = 100'000;
  std::int64_t longest_nap = 10'000'000;

  // With a tenure of 1 ms 0.03 less throughput; with 4 ms 0.1 less fairness.
  std::int64_t tenure = 2'000'000;
  std::int64_t aside = 200'000;  // a thread that was woken comes within 0.05 ms, if a processor is free

  std::int64_t first_slice = 50'000'000;  // a slice doubles when it ends
  std::int64_t longest_slice = 1'000'000'000;
};
inline constexpr WaitingPolicy policy;

// What a thread has learned about waiting; times in nanoseconds.
struct LinuxHabits {
  std::int64_t spin_time = policy.longest_spin;  // before it sleeps
  std::int64_t usual_wait = 0;                   // of the waits in which it was woken in vain
  std::int64_t tenure_began = 0;                 // a moment
  const void* woken_at = nullptr;  // the word of the lock at which this thread woke somebody last
  std::uint32_t woken = 0;         // how many it has woken there since it last waited itself
  bool spinning_was_enough = false;
};

// What a thread knows of itself. It is valid while `generation` equals that of the process.
struct LinuxThread {
  // Never filled: no process ever has this number, nor is it a wiped page's 0.
  std::uint64_t generation = ~std::uint64_t{0};
  std::uint32_t tid = 0;
  std::uint32_t pid_namespace = 0;
  std::uint64_t id = 0;  // random, never 0; tells a thread from an earlier one with the same tid
  robust_list_head* robust_list = nullptr;
  // Locks whose last wake-up by this thread found nobody, by their address. One that is pushed out costs a
  // system call.
  const void* quiet[8] = {};
  std::uint32_t last_draw = 0;
  LinuxHabits habits;
};

// What a process knows of itself, in a page that the kernel wipes to 0 in every child that does not share
// memory with its parent, however it was made.
struct LinuxProcess {
  std::atomic<std::uint64_t> generation{0};  // random
  std::atomic<std::uint32_t> pid_namespace{0};
};

static_assert(sizeof(LinuxThread) == 144 && sizeof(LinuxProcess) == 16,
              "another layout: a new minor version");

// One of each in a process: visible however a program that includes this is compiled.
HEIRLOCK_VISIBLE inline thread_local LinuxThread this_thread_record HEIRLOCK_STATIC_TLS{};
HEIRLOCK_VISIBLE inline const LinuxProcess no_process_yet{};
HEIRLOCK_VISIBLE inline std::atomic<const LinuxProcess*> this_process{&no_process_yet};

// What is drawn for an owner_id, so that nothing that a libc mutex has at its place is taken for one.
constexpr bool is_owner_id(std::uint64_t number) noexcept {
  return number >> 32 != 0;
}

struct LinuxPlatform {
  template <class T>
  using Atomic = LinuxAtomic<T>;
  template <class T>
  using Plain = LinuxPlain<T>;
  using Thread = LinuxThread;

  // --- Who I am ---

  /// The calling thread's record, or null when this thread has used no lock since it, or its process, began.
  static Thread* known_thread() noexcept {
    Thread& me = this_thread_record;
    const LinuxProcess* const process = this_process.load(std::memory_order_acquire);
    const bool is_known = me.generation == process->generation.load(std::memory_order_relaxed);
    return HEIRLOCK_UNLIKELY(!is_known) ? nullptr : &me;
  }
  /// Whether the caller has a record, and the lock is one of the caller's PID namespace.
  static bool is_admitted(const Thread* me, const Atomic<std::uint32_t>& of_lock) noexcept {
    return !HEIRLOCK_UNLIKELY(me == nullptr || of_lock.load(Order::relaxed) != me->pid_namespace);
  }
  /// Makes the record where there is none, and the lock, if it belongs to no PID namespace yet, one of the
  /// caller's. Refused, with its message in last_error: unsupported_platform, foreign_pid_namespace, or the
  /// system's error if there is no memory.
  static Outcome admit(Atomic<std::uint32_t>& of_lock) noexcept;

  // --- The robust list (kernel: Documentation/locking/robust-futex-ABI.rst) ---
  //
  // One per thread, registered by libc and shared with its robust mutexes: SPECIFICATION.md has its
  // conventions (section 5, Linking) and what the kernel does with it at the thread's death (section 7). Each
  // store stays where the program has it, as the kernel sees it.
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
  /// Whether a lock on the calling thread's list shows this owner_id. Libc's mutexes there have their kind,
  /// of 32 bits, and zeros in its place.
  static bool lists_owner_id(const Thread& me, std::uint64_t owner_id) noexcept {
    if (!is_owner_id(owner_id)) return false;
    Link at = first(me);
    while ((at & ~pi_mark) != head(me) && owner_id_at(at) != owner_id) at = next(at);
    return (at & ~pi_mark) != head(me);
  }
  /// Does nothing at the head: glibc has a word for it there, other libcs have not.
  static void set_prev(const Thread& me, Link at, Link to) noexcept {
    if ((at & ~pi_mark) != head(me)) *reinterpret_cast<Link*>((at & ~pi_mark) - sizeof(Link)) = to;
  }

  // --- Waiting (futex(2); shared, so keyed by the memory and not by its address) ---

  // A moment on CLOCK_MONOTONIC, in nanoseconds.
  using Deadline = std::int64_t;
  static constexpr Deadline no_wait = 0;
  static constexpr Deadline for_ever = INT64_MAX;

  // How long one acquire has spun and slept.
  struct Patience {
    explicit Patience(Thread& thread) noexcept : me(thread) {}
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;
    /// The acquire ends.
    ~Patience();
    Thread& me;
    std::uint32_t pauses = 0;  // between the last two looks at the word
    std::uint32_t looks = 0;
    Deadline spin_end = no_wait;
    Deadline began = no_wait;  // the first wait
    std::int64_t slice = policy.first_slice;
    Deadline slice_end = no_wait;  // a moment, so that signals do not put it off; set by the first wait
    bool was_woken = false;        // by the last wait
    bool has_napped = false;
  };

  /// Whether the deadline is one that has passed from the beginning.
  static constexpr bool is_try(Deadline deadline) noexcept { return deadline == no_wait; }
  /// Whether the time is over, or a signal handler ran that ends the wait.
  static bool has_passed(Deadline deadline) noexcept;
  /// The moment that lies `nanoseconds` ahead; `for_ever` if that is too far to count.
  static Deadline deadline_after(std::int64_t nanoseconds) noexcept;

  /// May pause for a bounded time, so that a thread that the caller has woken takes the lock first.
  static void step_aside(Atomic<std::uint32_t>& word, Deadline deadline, Patience& patience) noexcept;

  /// Returns true after a pause while it is better to look again than to sleep.
  static bool spin(Patience& patience) noexcept;

  /// Sleeps if the word still holds `seen`, compared and queued in one step, until woken, the deadline, a
  /// signal, or the end of the slice, which is the backstop's. May return for no reason.
  /// May nap instead, without being queued, for a bounded time and not past the deadline.
  /// Returns `slice_ended` only when the slice ended its sleep, and never when it consumed a wake-up.
  /// Promises no order of memory, not even that the word as read next is as new as the wake-up.
  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                   Patience& patience) noexcept;
  enum class Sleep : std::uint8_t { woken, timed_out, disturbed };
  /// As wait(), without slices and naps. Disturbed: the word had changed, or a signal came.
  static Sleep sleep(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline) noexcept;

  /// Whether a try that fails is one of the few, here of 64, that ask after the owner, since asking costs
  /// more than trying. Drawn at random: a count could keep step with one who tries several locks in turn.
  static bool asks_this_time(Thread& me) noexcept { return HEIRLOCK_UNLIKELY(one_in(64, me)); }

  /// Wakes one sleeper, whichever the kernel likes. Returns how many it woke. The lock may be gone: needs no
  /// memory at the address. Promises no order of memory.
  static int wake_one(Atomic<std::uint32_t>& word) noexcept;

  /// Stores 0 and wakes every sleeper, in one step. Promises no order of memory: fence() first.
  static void clear_and_wake_all(Atomic<std::uint32_t>& word) noexcept;

  /// Where the thread notes that its last wake-up for this lock, or another of its slot, found nobody.
  template <class Lock>
  static const void*& quiet(Thread& me, const Lock& lock) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&lock);
    return me.quiet[((address >> 12) ^ (address >> 5)) % std::size(me.quiet)];
  }

  /// Orders what comes before it ahead of the store that the kernel then makes to the word.
  static void fence([[maybe_unused]] Atomic<std::uint32_t>& word, Order order) noexcept {
#if HEIRLOCK_THREAD_SANITIZER
    if (order == Order::release) __tsan_release(&word);  // it sees neither fences nor the kernel's stores
#else
    std::atomic_thread_fence(standard(order));
#endif
  }

  /// Whether no thread `tid` that could own a lock lives in the caller's PID namespace: none lives, or it has
  /// no robust list, having just begun or called exec. False where one cannot know. Brings in what it wrote.
  /// The answer is newer than what the caller has read before, and older than what it reads next.
  static bool owner_is_gone(std::uint32_t tid) noexcept;

 private:
  // At random.
  static bool one_in(std::uint32_t number, Thread& me) noexcept {
    me.last_draw = me.last_draw * 1664525 + 1013904223;  // Numerical Recipes' "quick and dirty" generator
    return me.last_draw < UINT32_MAX / number;
  }

  static constexpr Link pi_mark = 1;
  static void store_for_kernel(void* at, Link value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *static_cast<volatile Link*>(at) = value;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
};

// The 40 bytes of a lock, and the distance from a node to its word that the kernel was told by libc.
using LinuxLock = LockMemory<LinuxPlatform>;
inline constexpr std::int64_t word_from_node = -32;
static_assert(sizeof(LinuxLock) == 40 && alignof(LinuxLock) == 8);
static_assert(offsetof(LinuxLock, word) == 0 && offsetof(LinuxLock, depth) == 4 &&
              offsetof(LinuxLock, pid_namespace) == 8 && offsetof(LinuxLock, owner_id) == 16 &&
              offsetof(LinuxLock, owner_id) == offsetof(LinuxLock, next) - 16 &&
              offsetof(LinuxLock, prev) == 24 && offsetof(LinuxLock, next) == -word_from_node);

/// Notes why the algorithm, which knows no messages, refused `call` on the lock. Returns the outcome.
HEIRLOCK_COLD Outcome explained(Outcome outcome, const LinuxLock& lock, const char* call) noexcept;

/// As LockAlgorithm's acquire, but refused as `interrupted` when a signal handler ran in the caller while it
/// slept, and the lock was still not to be had. A handler that ran just before it slept is not noticed.
Outcome acquire_interruptible(LinuxLock& lock, LinuxPlatform::Deadline deadline) noexcept;

/// Takes a lock of the process's own, free in each child. Guards what must be whole between any two of its
/// changes, as its owner may end, or be missing in a child. Refused as admit() is.
Outcome hold_process(LinuxLock*& lock) noexcept;

}  // namespace heirlock::detail_v0_1
#endif
