// The Platform over the machine. detail/linux_platform.hpp states what each operation promises.
#ifndef HEIRLOCK_FUZZ_SIMULATED_PLATFORM_HPP
#define HEIRLOCK_FUZZ_SIMULATED_PLATFORM_HPP

#include <cstdint>
#include <utility>

#include "heirlock/detail/lock_algorithm.hpp"

namespace simulated {

using heirlock::detail::Order;
using heirlock::detail::Outcome;
using heirlock::detail::Wait;

struct Platform;
using Lock = heirlock::detail::LockMemory<Platform>;

// A link of a robust list is the address of a lock, or of the head that it leads back to.
using Link = std::uintptr_t;

/// What the platform knows of a thread.
struct Thread {
  std::uint32_t tid = 0;
  std::uint64_t id = 0;
  bool has_used_a_lock = false;
  Link first = 0;  // the head of its robust list
  Link pending = 0;
  const void* quiet = nullptr;
};

template <class T>
class Atomic {
 public:
  T load(Order) const { return value_; }
  void store(T value, Order) { value_ = value; }
  bool compare_exchange(T expected, T desired, Order) {
    return value_ == expected && (value_ = desired, true);
  }
  /// For the machine and the checks.
  T& now() { return value_; }
  const T& now() const { return value_; }

 private:
  T value_{};
};

template <class T>
class Plain {
 public:
  T load() const { return value_; }
  void store(T value) { value_ = value; }
  T& now() { return value_; }
  const T& now() const { return value_; }

 private:
  T value_{};
};

struct Platform {
  template <class T>
  using Atomic = simulated::Atomic<T>;
  template <class T>
  using Plain = simulated::Plain<T>;
  using Thread = simulated::Thread;
  using Link = simulated::Link;
  enum class Deadline : std::uint8_t { passed, passes_at_some_time, never };
  struct Patience {
    explicit Patience(Thread&) {}
  };

  static Thread* known_thread();
  static bool is_admitted(const Thread* me, const Atomic<std::uint32_t>&) { return me != nullptr; }
  static Outcome admit(Atomic<std::uint32_t>&);  // there is one PID namespace

  static void set_pending(Thread& me, const Lock& lock);
  static void clear_pending(Thread& me);
  static Link link_to(const Lock& lock) { return reinterpret_cast<Link>(&lock); }
  static Link head(const Thread& me) { return reinterpret_cast<Link>(&me.first); }
  static Link first(const Thread& me) { return me.first; }
  static bool lists_owner_id(const Thread& me, std::uint64_t owner_id);
  static void set_next(Link at, Link to);
  static void set_prev(const Thread& me, Link at, Link to);
  static Lock& lock_at(Link link) { return *reinterpret_cast<Lock*>(link); }

  static bool is_try(Deadline deadline) { return deadline == Deadline::passed; }
  static bool has_passed(Deadline deadline);
  static void step_aside(Atomic<std::uint32_t>&, Deadline, Patience&) {}
  static bool spin(Patience&) { return false; }
  static Wait wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline, Patience&);
  static bool asks_this_time(Thread&) { return true; }
  static int wake_one(Atomic<std::uint32_t>& word);
  static void clear_and_wake_all(Atomic<std::uint32_t>& word);
  static const void*& quiet(Thread& me, const Lock&) { return me.quiet; }
  static void fence(Atomic<std::uint32_t>&, Order) {}
  static bool owner_is_gone(std::uint32_t tid);
};

using Algorithm = heirlock::detail::LockAlgorithm<Platform>;
using Deadline = Platform::Deadline;

}  // namespace simulated
#endif
