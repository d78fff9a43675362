// What the processes of one run share: locks, what the locks guard, and what is known of who got them.
#ifndef HEIRLOCK_TESTS_CRASH_WORLD_HPP
#define HEIRLOCK_TESTS_CRASH_WORLD_HPP

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heirlock/lockable.hpp"
#include "lock.hpp"

namespace crash {

/// Its two numbers are equal unless its writer was killed in between.
struct Record {
  volatile std::uint64_t first = 0, second = 0;

  bool is_whole() const { return first == second; }
  void write() {
    first = first + 1;
    second = second + 1;
  }
  void mend() { second = first; }
};

/// A lock, its record, and what each acquire by a survivor came to, in their order.
struct Site {
  heirlock::ReentrantLock memory;
  Record record;
  heirlock::AcquireResult results[16] = {};
  std::atomic<std::size_t> count{0};

  Lock lock() { return Lock(memory); }
};

/// How its users see a site when they see it as an object: recover() mends the record.
struct Account : heirlock::Lockable {
  explicit Account(Site& of) : Lockable(of.memory), site(of) {}
  void recover() override {
    site.record.mend();
    has_recovered = true;
  }
  Site& site;
  bool has_recovered = false;
};

/// What one process says of itself, and what it waits for.
struct Desk {
  sem_t owns, may_release, has_released, may_die, is_dying;
  pthread_mutex_t around, before, between;  // libc's robust ones, held across acquires and releases of ours
  std::atomic<const char*> complaint{nullptr};
};

enum class Phase { before, inside, after };

struct World {
  static constexpr std::size_t most_parties = 8;

  World();

  Site sites[2];
  Desk desks[most_parties];
  Pause pause;  // of the victim
  std::atomic<Phase> victims_phase{Phase::before};
  bool victim_survives = false;     // and goes on after its body
  bool is_used_as_objects = false;  // by those who survive
};

/// What a party does once it got the lock.
enum class Then {
  release,
  hold,         ///< until its desk says that it may release
  stop_to_hold  ///< by SIGSTOP, traced, until its tracer lets it go on
};

/// The life of a process that is not killed: it takes the site's lock, with libc's mutexes taken and given
/// back in between, and gives it back. Then it waits until it may die, and dies holding all three. What it
/// finds wrong it leaves as the complaint of its desk.
[[noreturn]] void survive(World& world, std::size_t desk, Site& site, Then then);

/// Whether the mutex was left by a dead owner. Takes it and gives it back.
bool was_left_by_the_dead(pthread_mutex_t& mutex);

}  // namespace crash
#endif
