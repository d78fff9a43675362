// The Platform that lock_algorithm.hpp runs on in the model: Relacy's memory, the kernel of kernel.hpp.
//
// detail/linux_platform.hpp states what each operation promises; here it promises no more than that, and does
// whatever it may.
#ifndef HEIRLOCK_VERIFY_MODEL_PLATFORM_HPP
#define HEIRLOCK_VERIFY_MODEL_PLATFORM_HPP

#include <utility>

#include "model/kernel.hpp"

namespace heirlock::verify {

using detail::Order;
using detail::Outcome;
using detail::Wait;

constexpr rl::memory_order in_relacy(Order order) {
  return order == Order::acquire ? rl::mo_acquire : order == Order::release ? rl::mo_release : rl::mo_relaxed;
}

inline const char* in_words(Order order) {
  return order == Order::acquire ? "acquire" : order == Order::release ? "release" : "relaxed";
}

// Relacy may switch threads before each operation, and lets a load see older values where the standard would.
template <class T>
class ModelAtomic {
 public:
  T load(Order order) const {
    Kernel::running().announce(this, Access::reads);
    const T value = value_.load(in_relacy(order), nowhere);
    if (telling)
      Kernel::running().tell("reads %s: %s%s", name(), words(value),
                             value == value_.debug_value() ? "" : " (an older value)");
    return value;
  }
  void store(T value, Order order) {
    Kernel::running().before_step(Moment::changing);
    Kernel::running().announce(this, Access::writes);
    value_.store(value, in_relacy(order), nowhere);
    if (telling) Kernel::running().tell("stores %s in %s (%s)", words(value), name(), in_words(order));
  }
  bool compare_exchange(T expected, T desired, Order order) {
    Kernel::running().before_step(Moment::changing);
    Kernel::running().announce(this, Access::writes);
    T found = expected;
    const bool done = value_.compare_exchange(rl::bool_t<false>(), found, desired, in_relacy(order),
                                              rl::mo_relaxed, nowhere);
    if (telling && done)
      Kernel::running().tell("changes %s from %s to %s (%s)", name(), words(expected), words(desired),
                             in_words(order));
    if (telling && !done)
      Kernel::running().tell("does not change %s: expected %s, found %s", name(), words(expected),
                             words(found));
    return done;
  }
  /// The newest value there is, without any order: what the kernel sees, which looks behind full barriers. (A
  /// compare-exchange that fails is the one read of Relacy's that never sees an older value.)
  T newest(unsigned kind = Access::reads) {
    Kernel::running().announce(this, kind);
    T found = never;
    value_.compare_exchange(rl::bool_t<false>(), found, never, rl::mo_relaxed, nowhere);
    return found;
  }
  /// For the scenario, not for the algorithm: no step, and no order.
  T value_now() const { return value_.debug_value(); }
  /// The store that goes with waking all. Promises no order.
  void clear_in_kernel() {
    Kernel::running().before_step(Moment::waking);
    Kernel::running().announce(this, Access::writes | Access::queues);
    value_.store(0, rl::mo_relaxed, nowhere);
    Kernel::running().tell("[kernel] stores 0 in %s", name());
  }

 private:
  static constexpr T never = static_cast<T>(~T{0} >> 2);  // no word and no owner_id has this value

  const char* name() const {
    static char text[64];
    std::snprintf(text, sizeof text, "%s of %s", sizeof(T) == 8 ? "owner_id" : "the word",
                  Kernel::running().name_of(this));
    return text;
  }
  static const char* words(T value) {
    return sizeof(T) == 8 ? Kernel::running().describe_id(value)
                          : Kernel::running().describe(static_cast<std::uint32_t>(value));
  }

  rl::atomic<T> value_{T{}};
};

// Two threads that use one without an order between them are a data race, which Relacy reports.
template <class T>
class ModelPlain {
 public:
  T load() const { return value_(nowhere).load(); }
  void store(T value) {
    Kernel::running().before_step(sizeof(T) == 4 ? Moment::counting : Moment::linking);
    if (telling) {
      Kernel& kernel = Kernel::running();
      kernel.tell("stores %s in %s of %s",
                  sizeof(T) == 4 ? kernel.describe_number(value) : kernel.describe_link(value),
                  kernel.field_of(this), kernel.name_of(this));
    }
    value_(nowhere).store(value);  // last: a race ends the story here
  }

 private:
  rl::var<T> value_{T{}};
};

struct ModelPlatform {
  template <class T>
  using Atomic = ModelAtomic<T>;
  template <class T>
  using Plain = ModelPlain<T>;
  using Thread = ModelThread;
  using Link = verify::Link;

  // --- Who I am
  static Thread* known_thread() {
    Thread& me = Kernel::running().me();
    return me.has_used_a_lock ? &me : nullptr;
  }
  static bool is_admitted(const Thread* me, const Atomic<std::uint32_t>&) { return me != nullptr; }
  static Outcome admit(Atomic<std::uint32_t>&) {  // the model has one PID namespace
    Kernel::running().me().has_used_a_lock = true;
    return heirlock_done;
  }

  // --- The robust list
  static void set_pending(Thread& me, const Lock& lock) { mark_pending(me, link_to(lock)); }
  static void clear_pending(Thread& me) { mark_pending(me, 0); }
  static Link link_to(const Lock& lock) { return reinterpret_cast<Link>(&lock); }
  static Link head(const Thread& me) { return reinterpret_cast<Link>(&me.first); }
  static Link first(const Thread& me) { return me.first; }
  static void set_next(Link at, Link to) {
    Thread& me = Kernel::running().me();
    if (at != head(me)) return lock_at(at).next.store(to);
    Kernel::running().before_step(Moment::linking);
    me.first = to;
    me.has_listed_a_lock = true;
    if (telling && to == head(me)) Kernel::running().tell("has an empty list");
    if (telling && to != head(me))
      Kernel::running().tell("lets its list begin with %s", Kernel::running().describe_link(to));
  }
  static bool lists_owner_id(const Thread& me, std::uint64_t owner_id) {
    Link at = me.first;
    while (at != head(me) && lock_at(at).owner_id.load(Order::relaxed) != owner_id)
      at = lock_at(at).next.load();
    return at != head(me);
  }
  static void set_prev(const Thread& me, Link at, Link to) {
    if (at != head(me)) lock_at(at).prev.store(to);
  }

  // --- Waiting
  enum class Deadline : std::uint8_t { passed, passes_at_some_time, never };
  struct Patience {
    explicit Patience(Thread&) {}
  };

  static bool is_try(Deadline deadline) { return deadline == Deadline::passed; }
  static bool has_passed(Deadline deadline) {
    if (deadline != Deadline::passes_at_some_time) return deadline == Deadline::passed;
    Thread& me = Kernel::running().me();
    if (!me.time_is_over && choices().choose(2) == 1) {
      me.time_is_over = true;
      Kernel::running().tell("finds its time over");
    }
    return me.time_is_over;
  }
  static void step_aside(Atomic<std::uint32_t>&, Deadline, Patience&) {}  // any step may be late
  static bool spin(Patience&) { return false; }  // to look again is left to stale loads and failed exchanges

  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline, Patience&) {
    Kernel& kernel = Kernel::running();
    kernel.before_step(Moment::waiting);
    if (kernel.me().spurious_returns_left > 0 && choices().choose(2) == 1) {
      --kernel.me().spurious_returns_left;
      kernel.tell("returns from its wait for no reason");
      return Wait::look_again;
    }
    const std::uint32_t now =
        word.newest(Access::reads | Access::queues);  // from here to sleep() no other thread runs
    if (now != seen) {
      if (telling) kernel.tell("does not sleep: the word is %s by now", kernel.describe(now));
      return Wait::look_again;
    }
    if (kernel.backstop && kernel.slice_ends(seen)) return Wait::slice_ended;
    kernel.sleep(&word, deadline == Deadline::passes_at_some_time);
    return std::exchange(kernel.me().slice_has_ended, false) ? Wait::slice_ended : Wait::look_again;
  }
  static bool asks_this_time(Thread&) { return Kernel::running().backstop; }

  static int wake_one(Atomic<std::uint32_t>& word) {
    Kernel::running().before_step(Moment::waking);
    return Kernel::running().wake_one(&word);
  }
  static void clear_and_wake_all(Atomic<std::uint32_t>& word) {
    word.clear_in_kernel();
    Kernel::running().wake(&word, Kernel::max_threads);
  }
  static const void*& quiet(Thread& me, const Lock& lock) { return Kernel::running().quiet_note(me, lock); }
  static void fence(Atomic<std::uint32_t>&, Order order) {
    if (order == Order::release) rl::ctx().atomic_thread_fence_release();
  }

  static bool owner_is_gone(std::uint32_t tid) { return Kernel::running().is_gone(tid); }

 private:
  static void mark_pending(Thread& me, Link link) {
    Kernel::running().before_step(Moment::marking);
    me.pending = link;
    if (telling && link != 0)
      Kernel::running().tell("sets its pending mark to %s", Kernel::running().describe_link(link));
    if (telling && link == 0) Kernel::running().tell("clears its pending mark");
  }
  static Lock& lock_at(Link link) { return *reinterpret_cast<Lock*>(link); }
};

/// For scenarios that wait for a moment: no steps of a thread.
inline bool is_owner(const ModelThread& thread, const Lock& lock) {
  return detail::owner_of(lock.word.value_now()) == thread.tid;
}
inline bool lists_nothing(const ModelThread& thread) {
  return thread.first == ModelPlatform::head(thread);
}

using Deadline = ModelPlatform::Deadline;
using Algorithm = detail::LockAlgorithm<ModelPlatform>;

}  // namespace heirlock::verify
#endif
