// The locks that are compared, all in one shape, and each used as its own documentation says.
//
// No lock is favoured: what a lock keeps in its header is inlined, what it keeps in a library is called
// there, as in any program that uses it. No adapter looks at the result of a plain acquire. All but those
// marked `is_local` lie in MAP_SHARED memory.
#ifndef HEIRLOCK_TESTS_BENCH_LOCKS_HPP
#define HEIRLOCK_TESTS_BENCH_LOCKS_HPP

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <type_traits>
#include <utility>

#include "bench/party.hpp"
#include "heirlock/lockable.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/clock.hpp"
#include "support/libc_mutex.hpp"
#ifdef HEIRLOCK_BENCH_BOOST
#include <boost/date_time/posix_time/posix_time.hpp>
#include <boost/interprocess/sync/interprocess_recursive_mutex.hpp>
#endif

namespace bench {

using namespace support;  // its clock

// What a lock can do; the others are not asked for it.
struct Abilities {
  bool reentrant = true;
  bool timed = true;
  bool between_processes = true;
  bool robust = false;
};

struct Heirlock {
  static constexpr const char* name = "heirlock";
  static constexpr Abilities can{true, true, true, true};
  static constexpr bool is_local = false;

  void acquire() { static_cast<void>(lock.acquire()); }
  void release() { lock.release(); }
  bool try_acquire() { return lock.try_acquire() != heirlock::AcquireResult::not_acquired; }
  bool acquire_for(Nanoseconds time) {
    return lock.acquire_for(std::chrono::nanoseconds(time)) != heirlock::AcquireResult::not_acquired;
  }
  /// Returns whether the last owner died, and mends that.
  bool acquire_as_heir() {
    if (lock.acquire() != heirlock::AcquireResult::inherited) return false;
    lock.repaired();
    return true;
  }

  heirlock::ReentrantLock lock;
};

// The object is each process's own, as Lockable says; what they share is in a mapping that it makes.
struct Lockable {
  static constexpr const char* name = "lockable";
  static constexpr Abilities can{true, true, true, true};
  static constexpr bool is_local = true;

  struct Object : heirlock::Lockable {
    void recover() override { has_recovered = true; }
    bool has_recovered = false;
  };

  void acquire() { object.acquire(); }
  void release() { object.release(); }
  bool try_acquire() { return object.acquire(false); }
  bool acquire_for(Nanoseconds time) { return object.acquire(true, std::chrono::nanoseconds(time)); }
  bool acquire_as_heir() {
    object.acquire();
    return std::exchange(object.has_recovered, false);
  }
  template <class F>
  void locked(F&& f) {
    object.locked(std::forward<F>(f));
  }

  Object object;
};

template <bool robust>
struct Glibc {
  static constexpr const char* name = robust ? "glibc-robust" : "glibc";
  static constexpr Abilities can{true, true, true, robust};
  static constexpr bool is_local = false;

  Glibc() { support::make_libc_mutex(mutex, PTHREAD_MUTEX_RECURSIVE, robust); }
  Glibc(const Glibc&) = delete;
  Glibc& operator=(const Glibc&) = delete;
  ~Glibc() { pthread_mutex_destroy(&mutex); }

  void acquire() { pthread_mutex_lock(&mutex); }
  void release() { pthread_mutex_unlock(&mutex); }
  bool try_acquire() { return pthread_mutex_trylock(&mutex) == 0; }
  bool acquire_for(Nanoseconds time) {  // it wants a moment, so its user has to ask the clock
    const timespec deadline = as_timespec(now() + time);
    return pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &deadline) == 0;
  }
  bool acquire_as_heir() {
    if (pthread_mutex_lock(&mutex) != EOWNERDEAD) return false;
    pthread_mutex_consistent(&mutex);
    return true;
  }

  pthread_mutex_t mutex;
};

// The standard library's timed mutex is a class of its own.
template <class Mutex>
struct Std {
  static constexpr bool is_timed = std::is_same_v<Mutex, std::recursive_timed_mutex>;
  static constexpr const char* name = is_timed ? "std-recursive-timed" : "std-recursive";
  static constexpr Abilities can{true, is_timed, false, false};
  static constexpr bool is_local = true;

  void acquire() { mutex.lock(); }
  void release() { mutex.unlock(); }
  bool try_acquire() { return mutex.try_lock(); }
  bool acquire_for(Nanoseconds time) { return mutex.try_lock_for(std::chrono::nanoseconds(time)); }

  Mutex mutex;
};
using StdRecursive = Std<std::recursive_mutex>;
using StdRecursiveTimed = Std<std::recursive_timed_mutex>;

#ifdef HEIRLOCK_BENCH_BOOST
struct Boost {
  static constexpr const char* name = "boost";
  static constexpr Abilities can{true, true, true, false};
  static constexpr bool is_local = false;

  void acquire() { mutex.lock(); }
  void release() { mutex.unlock(); }
  bool try_acquire() { return mutex.try_lock(); }
  bool acquire_for(Nanoseconds time) {  // its clock is UTC, and knows microseconds
    using namespace boost::posix_time;
    return mutex.timed_lock(microsec_clock::universal_time() + microseconds(time / 1000));
  }

  boost::interprocess::interprocess_recursive_mutex mutex;
};
#endif

struct Semaphore {
  static constexpr const char* name = "sem";
  static constexpr Abilities can{false, true, true, false};
  static constexpr bool is_local = false;

  Semaphore() { sem_init(&semaphore, 1, 1); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  ~Semaphore() { sem_destroy(&semaphore); }

  void acquire() {
    while (sem_wait(&semaphore) != 0) continue;  // a signal
  }
  void release() { sem_post(&semaphore); }
  bool try_acquire() { return sem_trywait(&semaphore) == 0; }
  bool acquire_for(Nanoseconds time) {
    const timespec deadline = as_timespec(now() + time);
    return sem_clockwait(&semaphore, CLOCK_MONOTONIC, &deadline) == 0;
  }

  sem_t semaphore;
};

// The least that any lock of this kind does when nobody else wants it. No lock: it does not wait.
struct FloorCasExchange {
  static constexpr const char* name = "floor-cas-exchange";
  static constexpr Abilities can{false, false, false, false};
  static constexpr bool is_local = false;

  void acquire() {
    std::uint32_t free = 0;
    word.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void release() { word.exchange(0, std::memory_order_release); }

  std::atomic<std::uint32_t> word{0};
};

// The same with what no reentrant lock can do without: it writes down who owns it, looks there first, and
// looks at what each exchange found: the lock busy, or somebody waiting.
struct FloorReentrant {
  static constexpr const char* name = "floor-reentrant";
  static constexpr Abilities can{false, false, false, false};
  static constexpr bool is_local = false;

  void acquire() {
    std::uint32_t free = 0;
    if (owner.load(std::memory_order_relaxed) == my_id ||
        !word.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed))
      std::abort();
    owner.store(my_id, std::memory_order_relaxed);
  }
  void release() {
    if (owner.load(std::memory_order_relaxed) != my_id) std::abort();
    owner.store(0, std::memory_order_relaxed);
    if (word.exchange(0, std::memory_order_release) != 1) std::abort();
  }

  static inline thread_local std::uint64_t my_id = 1;
  std::atomic<std::uint32_t> word{0};
  std::atomic<std::uint64_t> owner{0};
};

template <class Lock>
struct LockType {
  using type = Lock;
};

/// Calls f(LockType<Lock>()) for each lock.
template <class F>
void for_each_lock(F&& f) {
  f(LockType<Heirlock>());
  f(LockType<Lockable>());
  f(LockType<Glibc<true>>());
  f(LockType<Glibc<false>>());
  f(LockType<StdRecursive>());
  f(LockType<StdRecursiveTimed>());
#ifdef HEIRLOCK_BENCH_BOOST
  f(LockType<Boost>());
#endif
  f(LockType<Semaphore>());
}

/// Runs f while holding the lock, in the way that the lock's users do it.
template <class Lock, class F>
void under(Lock& lock, F&& f) {
  if constexpr (std::is_same_v<Lock, Lockable>) {
    lock.locked(std::forward<F>(f));
  } else {
    lock.acquire();
    std::forward<F>(f)();
    lock.release();
  }
}

/// So many locks, each on cache lines of its own: what is measured is not the neighbours.
template <class Lock>
class Locks {
 public:
  explicit Locks(std::size_t count = 1) : slots_(count, Lock::is_local ? MAP_PRIVATE : MAP_SHARED) {}

  Lock& operator[](std::size_t i) const { return slots_[i].lock; }
  std::size_t size() const { return slots_.size(); }

 private:
  // Two lines, as some processors fetch them in pairs.
  struct alignas(128) Slot {
    Lock lock;
  };

  Shared<Slot> slots_;
};

}  // namespace bench
#endif
