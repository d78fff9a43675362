// The Platform that lock_algorithm.hpp runs on in the model: Relacy's memory, the kernel of kernel.hpp.
//
// detail/linux_platform.hpp states what each operation promises; here it promises no more than that, and does
// whatever it may.
#ifndef HEIRLOCK_VERIFY_MODEL_PLATFORM_HPP
#define HEIRLOCK_VERIFY_MODEL_PLATFORM_HPP

#include "model/kernel.hpp"

namespace heirlock::verify {

using detail::Order;
using detail::Outcome;
using detail::Wait;

// Relacy may switch threads before each operation, and lets a load see older values where the standard would.
template <class T>
class ModelAtomic {
 public:
  ModelAtomic();
  ~ModelAtomic();
  T load(Order order) const;
  void store(T value, Order order);
  bool compare_exchange(T expected, T desired, Order order);
  /// The newest value there is, without any order: what the kernel sees, which looks behind full barriers.
  T newest(unsigned kind = Access::reads);
  /// For the scenario, not for the algorithm: no step, and no order.
  T value_now() const;
  /// The store that goes with waking all. Promises no order.
  void clear_in_kernel();

 private:
  const char* name() const;

  rl::atomic<T> value_;
};

// Two threads that use one without an order between them are a data race, which Relacy reports.
template <class T>
class ModelPlain {
 public:
  ModelPlain();
  ~ModelPlain();
  T load() const;
  void store(T value);

 private:
  rl::var<T> value_;
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
  static void set_next(Link at, Link to);
  static bool lists_owner_id(const Thread& me, std::uint64_t owner_id);
  static void set_prev(const Thread& me, Link at, Link to) {
    if (at != head(me)) lock_at(at).prev.store(to);
  }

  // --- Waiting
  enum class Deadline : std::uint8_t { passed, passes_at_some_time, never };
  struct Patience {
    explicit Patience(Thread&) {}
  };

  static bool is_try(Deadline deadline) { return deadline == Deadline::passed; }
  static bool has_passed(Deadline deadline);
  static void step_aside(Atomic<std::uint32_t>&, Deadline, Patience&) {}  // any step may be late
  static bool spin(Patience&) { return false; }  // to look again is left to stale loads and failed exchanges

  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline, Patience&);
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
  static void mark_pending(Thread& me, Link link);
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

/// The algorithm that is checked: the one that ships, or a mutant of it.
struct Algorithm {
  Outcome (*acquire)(Lock&, Deadline);
  Outcome (*release)(Lock&);
  bool (*is_owned)(const Lock&);
  Outcome (*repaired)(Lock&);
  void (*abandon)(Lock&);
};
extern Algorithm algorithm;

template <class Class>
constexpr Algorithm algorithm_of() {
  return {&Class::acquire, &Class::release, &Class::is_owned, &Class::repaired, &Class::abandon};
}

/// Makes a mutant known to the program.
struct Mutant {
  Mutant(const char* name, const Algorithm& algorithm);
};

}  // namespace heirlock::verify
#endif
