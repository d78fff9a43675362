// The memory by which a test gives orders to actors and reads their answers, and what they lock.
#ifndef HEIRLOCK_TESTS_PROPERTY_BOARD_HPP
#define HEIRLOCK_TESTS_PROPERTY_BOARD_HPP

#include <semaphore.h>
#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "heirlock/reentrant_lock.hpp"
#include "model/lock_model.hpp"

namespace property {

inline constexpr std::size_t max_actors = 32;
inline constexpr std::size_t max_locks = 3;

/// What a segment holds: a lock, and who is inside, as they say themselves.
struct Guarded {
  heirlock::ReentrantLock lock;
  std::atomic<int> occupant{model::nobody};
};

/// A lock as one actor sees it.
struct View {
  std::uint32_t depth;
  bool is_owned;
  pid_t owner;
  bool needs_repair;
};

/// One actor's. The test fills in an order and posts `asked`; the actor fills in an answer and counts it.
struct Slot {
  sem_t asked;
  bool is_to_look;  ///< fill in `views`, and do nothing
  model::Operation operation;
  std::size_t newcomer;  ///< the slot of the actor that a fork or an exec begins

  std::atomic<std::uint32_t> answers;
  model::Outcome outcome;
  int found_inside;  ///< the occupant that it found when it came in
  View views[max_locks];

  std::atomic<pid_t> process;
  std::atomic<pid_t> tid;
  std::atomic<const void*> futex;  ///< where, in its own memory, the lock lies that it tries to get
  std::atomic<bool> time_is_over;  ///< for a timed acquire
};

struct Board {
  sem_t answered;  ///< posted after each answer
  bool has_backstop;
  std::size_t locks;
  char names[max_locks][64];  ///< of their segments

  sem_t process_wanted;  ///< the server forks one, with these slots
  std::size_t first_slot;
  std::size_t slots_of_process;

  Slot slots[max_actors];
};

/// Waits for a post, whatever signals come.
inline void wait_for(sem_t& semaphore) {
  while (sem_wait(&semaphore) != 0 && errno == EINTR) continue;
}

}  // namespace property
#endif
