// The machine on which a fuzz target runs the shipped algorithm: threads, their robust lists, and a kernel
// that lets them sleep, wakes them and treats their locks when they die. A thread runs until it sleeps or
// ends; verify/ has the model in which threads interleave.
#ifndef HEIRLOCK_FUZZ_SIMULATED_MACHINE_HPP
#define HEIRLOCK_FUZZ_SIMULATED_MACHINE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "simulated/fiber.hpp"
#include "simulated/platform.hpp"
#include "support/input.hpp"

namespace simulated {

enum class Life : std::uint8_t { unborn, alive, gone };

/// How the kernel learns of a death. Of a thread other than the leader that calls exec it does not: the words
/// name a thread that is gone.
enum class Death : std::uint8_t { treated, missed };

struct Actor {
  Thread thread;
  Life life = Life::unborn;
  bool is_stopped = false;
  const void* sleeps_on = nullptr;
  bool time_is_over = false;
  bool slice_is_over = false;
};

/// Thrown by what would sleep, where nobody could wake it.
struct SleepsOutsideOfAJob {};

class Machine {
 public:
  static constexpr unsigned most_actors = 8;
  static constexpr unsigned most_locks = 3;
  static Machine& running();

  /// A new machine: no actors, free locks.
  void reset(fuzz::Input& choices);
  /// A new thread, which owns nothing; with a thread id of its own, unless one is given. Returns its number.
  unsigned begin_actor(std::uint32_t tid = 0);

  Lock& lock(unsigned number) { return locks_[number]; }
  Actor& actor(unsigned number) { return actors_[number]; }
  unsigned actors() const { return actors_begun_; }
  bool lists(const Actor& actor, const Lock& lock) const;

  /// Has the actor do this; returns when it pauses or has ended.
  void begin(unsigned actor, std::function<void()> job);
  void go_on(unsigned actor);
  bool is_busy(unsigned actor) const { return fibers_[actor].has_job(); }
  bool is_asleep(unsigned actor) const { return actors_[actor].sleeps_on != nullptr; }
  bool can_go_on(unsigned actor) const {
    return is_busy(actor) && !is_asleep(actor) && !actors_[actor].is_stopped;
  }

  void die(unsigned actor, Death death);
  /// A stopped thread is not queued: it takes no wake-up, and looks again when it goes on.
  void stop(unsigned actor);
  void resume(unsigned actor) { actors_[actor].is_stopped = false; }
  void end_time(unsigned actor);
  void end_slice(unsigned actor);

  // --- For the platform
  Actor& me() { return actors_[current_]; }
  const Actor& me() const { return actors_[current_]; }
  /// As whom the next steps are made, outside of any job.
  void act_as(unsigned actor) { current_ = actor; }
  void sleep(const void* word);
  int wake(const void* word, int count);
  bool is_gone(std::uint32_t tid) const;

 private:
  static constexpr unsigned nobody = most_actors;

  void exit_walk();
  void treat(Lock& lock, bool is_pending);

  std::array<Lock, most_locks> locks_;
  std::array<Actor, most_actors> actors_;
  std::array<Fiber, most_actors> fibers_;
  unsigned actors_begun_ = 0;
  unsigned current_ = nobody;
  std::uint32_t next_tid_ = 0;
  std::uint64_t next_id_ = 0;
  fuzz::Input* choices_ = nullptr;
};

}  // namespace simulated
#endif
