// All locks at one moment: who holds each, who waits for it, and who has it mapped.
#ifndef HEIRLOCK_COMMAND_PICTURE_HPP
#define HEIRLOCK_COMMAND_PICTURE_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "system.hpp"

namespace command {

struct Segment {
  std::string name;  // as programs give it, or a path
  std::string path;
  bool is_removed = false;   // the name is gone; some processes still have the segment mapped
  bool is_own_file = false;  // not a named segment but a file that the user gave by its path
  FileId file;
  uid_t user = 0;
  mode_t mode = 0;
  unsigned links = 1;
  std::uint64_t size = 0;
  std::int64_t made = 0;  // seconds since 1970
  std::int64_t written = 0;
  std::optional<detail::SegmentHeader> header;
  std::string trouble;             // why it could not be read
  std::vector<std::size_t> users;  // indices of processes

  bool is_lock() const;
  std::string type() const;
  /// Why every program refuses to open it; empty if that is not so.
  std::string refusal() const;
};

struct Waiter {
  Task task;
  std::uint64_t address = 0;  // of the lock, in the waiter's process
  std::int64_t since = 0;     // CLOCK_MONOTONIC seconds at which `watch` first saw it; 0: unknown
};

// to_be_inherited: free, and the last owner died. inherited: held by an owner that has inherited the lock and
// not called repaired() yet.
enum class State { unknown, free, held, to_be_inherited, inherited };
const char* name_of(State state);

enum class Owner {
  none,
  seen,
  dead,            // the kernel did not mark the death; the next acquire notices it
  namespace_gone,  // was in another PID namespace, which has no process any more
  elsewhere,       // in another PID namespace, which cannot be seen from here
  hidden,          // in this PID namespace, but /proc does not show the owner
};

struct Lock {
  std::size_t segment = 0;
  std::uint64_t offset = 0;  // in the object
  State state = State::unknown;
  bool is_other_memory = false;  // the bytes cannot be a lock
  std::uint32_t depth = 0;
  ino_t pid_namespace = 0;  // 0: never used
  std::uint64_t owner_id = 0;
  bool is_all_zero = false;
  pid_t owner_there = 0;  // the thread's id in the lock's PID namespace
  Owner owner_is = Owner::none;
  Task owner;  // if it is seen
  pid_t process_there = 0;
  std::vector<Waiter> waiters;
  bool all_waiters_seen = true;
};

// A thread of a deadlock. It holds the lock that the thread before it waits for.
struct Link {
  Task task;
  std::size_t holds, waits_for;  // indices of locks
};

struct Picture {
  std::vector<Segment> segments;
  std::vector<Process> processes;
  std::vector<Lock> locks;
  std::vector<std::vector<Link>> deadlocks;
  ino_t pid_namespace = 0;        // the caller's
  bool is_whole_machine = false;  // the caller is in the first PID namespace, which sees all others
  bool hides_processes = false;   // this /proc does
  std::string trouble;            // why /dev/shm could not be read
  bool has_other_mounts = false;  // a process uses files in another mount of /dev/shm

  std::string name(const Lock& lock) const;
};

/// What to show beside the named segments: a file by its path, or a lock at an offset.
struct Wanted {
  std::string name;
  std::optional<std::uint64_t> offset;
};
/// Examines all named segments and the processes that have them mapped.
Picture look(const Wanted& wanted);

/// Why the name must not be removed; empty if no process has the segment mapped. `others_use_none`: no other
/// PID namespace uses this /dev/shm, says the user.
std::string reason_to_keep(const Picture& picture, const Segment& segment, bool others_use_none);

/// "mapped by worker 4711, ..."; empty if no visible process has it mapped.
std::string users_of(const Picture& picture, const Segment& segment);

/// What to do to see more than this user can.
const char* who_sees_more();

/// "4711", or "4711/4712" for a thread other than the first of its process.
std::string id_of(const Task& task);
/// With the command: "worker 4711".
std::string who(const Task& task);

}  // namespace command
#endif
