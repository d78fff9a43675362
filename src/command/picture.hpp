// The locks of this machine at one moment: who holds each, who waits, who uses it.
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
  bool is_removed = false;   // only those who have it mapped can reach it
  bool is_own_file = false;  // no named segment: a file that the user named by its path
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
  /// Why programs refuse it whatever they expect in it; empty if they do not.
  std::string refusal() const;
};

struct Waiter {
  Task task;
  std::uint64_t address = 0;  // of the lock, in its process
  std::int64_t since = 0;     // CLOCK_MONOTONIC seconds at which `watch` first saw it; 0: unknown
};

// free, held: as they say. to_be_inherited: free, and marked by an owner's death. poisoned: held by an heir
// that has not declared the state repaired.
enum class State { unknown, free, held, to_be_inherited, poisoned };
const char* name_of(State state);

enum class Owner {
  none,
  seen,
  dead,            // the kernel missed its death; the next acquire notices
  namespace_gone,  // of another PID namespace, in which no process is left
  elsewhere,       // of another PID namespace, which cannot be seen from here
  hidden,          // of this namespace, and /proc does not show it
};

struct Lock {
  std::size_t segment = 0;
  std::uint64_t offset = 0;  // from the object's beginning
  State state = State::unknown;
  bool is_other_memory = false;  // its bytes were never a lock's
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

// A thread of a deadlock: it holds what the one before waits for.
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
  bool is_whole_machine = false;  // it is the machine's first, from which all others are seen
  bool hides_processes = false;   // this /proc does
  std::string trouble;            // why /dev/shm could not be read
  bool has_other_mounts = false;  // a process uses files of another /dev/shm

  std::string name(const Lock& lock) const;
};

/// What is asked for beside the named segments: a file by its path, or a lock in a larger segment.
struct Wanted {
  std::string name;
  std::optional<std::uint64_t> offset;
};
/// Looks at all named segments, and at the processes that have them mapped.
Picture look(const Wanted& wanted);

/// Why the name must stay; empty if no process has the segment mapped. `others_use_none`: the user says that
/// no other PID namespace uses this /dev/shm.
std::string reason_to_keep(const Picture& picture, const Segment& segment, bool others_use_none);

/// "mapped by worker 4711, ..."; empty if no process that is seen has it mapped.
std::string users_of(const Picture& picture, const Segment& segment);

/// What to do for to see more than this user can.
const char* who_sees_more();

/// "4711", or "4711/4712" for a thread that is not its process's first.
std::string id_of(const Task& task);
/// With the command: "worker 4711".
std::string who(const Task& task);

}  // namespace command
#endif
