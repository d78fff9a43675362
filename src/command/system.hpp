// What /proc tells about processes and threads. What this user may not read is marked as unseen.
#ifndef HEIRLOCK_COMMAND_SYSTEM_HPP
#define HEIRLOCK_COMMAND_SYSTEM_HPP

#include <sys/stat.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "heirlock/detail/segment.hpp"

namespace command {

namespace detail = heirlock::detail;

// Identifies a mapped file, also after its name was removed.
struct FileId {
  dev_t device = 0;
  ino_t number = 0;
  bool operator==(const FileId& other) const { return device == other.device && number == other.number; }
};

// One line of /proc/PID/maps.
struct Range {
  std::uint64_t begin, end, offset;
  FileId file;
};

// A thread, as in /proc/TID/status.
struct Task {
  pid_t id = 0;
  pid_t process = 0;
  pid_t id_there = 0;  // in its own PID namespace
  std::string command;
  char state = '?';  // R, S, D, T, t, Z, X or I
  pid_t tracer = 0;
  uid_t users[4] = {};  // real, effective, saved, file system
  bool is_kernels = false;

  bool runs_as(uid_t user) const {
    return std::find(std::begin(users), std::end(users), user) != std::end(users);
  }
};

struct Process {
  Task leader;
  ino_t pid_namespace = 0;     // 0: unseen
  pid_t living = 0;            // a thread that has not ended, through which to read the process
  bool is_seen = false;        // whether its mappings could be read
  bool is_seen_inside = true;  // whether its memory could be read
  std::vector<Range> ranges;   // mappings of the wanted files, by address
};

/// The path of the segment with this name.
inline std::string segment_path(const std::string& name) {
  return std::string(detail::segment_directory) + detail::segment_prefix + name;
}

constexpr ino_t first_pid_namespace = 0xEFFFFFFC;  // the machine's: PROC_PID_INIT_INO of the kernel

std::optional<Task> task(pid_t id);
std::vector<pid_t> task_ids(pid_t process);
/// Whether /proc belongs to the caller's PID namespace.
bool has_own_proc();
/// 0 if there is no /proc, or if it belongs to another PID namespace.
ino_t own_pid_namespace();
/// Whether this /proc hides other users' processes (hidepid, see proc(5)).
bool hides_processes();

/// Whether a reboot empties the file system of the path; `type` is its magic number. None, with errno, if
/// that is unknown.
std::optional<bool> is_in_memory(const std::string& path, unsigned long& type);

/// All processes, with the mappings for which `is_wanted(file, path)` holds.
std::vector<Process> processes(const std::function<bool(FileId, std::string_view path)>& is_wanted);

/// Copies from an open file, which may be a process's memory. Returns false if there are fewer bytes. Maps
/// nothing, so that the caller does not count as a user of the segment.
bool read_at(const detail::FileDescriptor& file, std::uint64_t offset, void* to, std::size_t size);
detail::FileDescriptor open_to_read(const std::string& path);
detail::FileDescriptor memory_of(pid_t process);

/// A thread's locks, as addresses in its process: those on its robust list, and the one that it is about to
/// acquire or release.
struct Robust {
  std::vector<std::uint64_t> held;
  std::uint64_t pending = 0;
};
/// None if this user may not read the process, or if the list is longer than `reads_left`.
std::optional<Robust> robust_list(pid_t thread, const detail::FileDescriptor& memory, int& reads_left);
constexpr int most_reads = 10'000;  // per process: a hostile one's list may be a circle

}  // namespace command
#endif
