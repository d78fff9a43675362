#include "system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace command {
namespace {

std::string read_all(const detail::FileDescriptor& file) {
  std::string text;
  char block[1 << 16];
  for (ssize_t got; (got = read(file.number, block, sizeof block)) > 0;)
    text.append(block, static_cast<std::size_t>(got));
  return text;
}
std::string read_all(const std::string& path) {
  return read_all(open_to_read(path));
}

// The value of the line "Name:   value".
std::string field(const std::string& text, const char* name) {
  const std::string start = std::string("\n") + name + ":";
  std::size_t at = text.find(start);
  if (at == text.npos) return "";
  at = text.find_first_not_of(" \t", at + start.size());
  return text.substr(at, text.find('\n', at) - at);
}

std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> found;
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return found;
  while (const dirent* const entry = readdir(stream))
    if (const int number = std::atoi(entry->d_name); number > 0) found.push_back(number);
  closedir(stream);
  return found;
}

// "7f00-7f01 rw-s 00000000 00:1a 42      /dev/shm/heirlock.a (deleted)"
void read_maps(const std::string& text, const std::function<bool(FileId, std::string_view)>& is_wanted,
               std::vector<Range>& ranges) {
  for (const char* line = text.c_str(); *line != '\0';) {
    const char* const end = std::strchr(line, '\n');
    if (end == nullptr) return;
    char* at = nullptr;
    Range range{};
    range.begin = std::strtoull(line, &at, 16);
    range.end = std::strtoull(at + 1, &at, 16);
    const bool is_shared = at[4] == 's';
    if (is_shared) {
      range.offset = std::strtoull(at + 6, &at, 16);
      const auto device_major = static_cast<unsigned>(std::strtoul(at + 1, &at, 16));
      const auto device_minor = static_cast<unsigned>(std::strtoul(at + 1, &at, 16));
      range.file = {makedev(device_major, device_minor), std::strtoull(at + 1, &at, 10)};
      at += std::strspn(at, " ");
      if (range.file.number != 0 && is_wanted(range.file, {at, static_cast<std::size_t>(end - at)}))
        ranges.push_back(range);
    }
    line = end + 1;
  }
}

// The first thread may end before the others.
pid_t living_thread_of(const Task& leader) {
  if (leader.state != 'Z' && leader.state != 'X') return leader.id;
  for (const pid_t id : task_ids(leader.id))
    if (const auto other = task(id); other && other->state != 'Z' && other->state != 'X') return id;
  return 0;
}

ino_t pid_namespace_of(const std::string& folder) {
  struct stat status = {};
  return stat((folder + "/ns/pid").c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

std::optional<Task> task(pid_t id) {
  const std::string text = "\n" + read_all("/proc/" + std::to_string(id) + "/status");
  if (text.size() == 1) return std::nullopt;
  Task found;
  found.id = id;
  found.process = std::atoi(field(text, "Tgid").c_str());
  found.command = field(text, "Name");
  found.state = field(text, "State").c_str()[0];
  found.tracer = std::atoi(field(text, "TracerPid").c_str());
  const std::string ids = field(text, "NSpid");
  found.id_there = std::atoi(ids.c_str() + (ids.find_last_of('\t') + 1));
  std::sscanf(field(text, "Uid").c_str(), "%u %u %u %u", &found.users[0], &found.users[1], &found.users[2],
              &found.users[3]);
  found.is_kernels = text.find("\nVmSize:") == text.npos && found.state != 'Z' && found.state != 'X';
  return found;
}

std::vector<pid_t> task_ids(pid_t process) {
  return numbers_in("/proc/" + std::to_string(process) + "/task");
}

bool has_own_proc() {
  char self[16] = "";
  return readlink("/proc/self", self, sizeof self - 1) > 0 && std::atoi(self) == getpid();
}

ino_t own_pid_namespace() {
  return has_own_proc() ? pid_namespace_of("/proc/self") : 0;
}

std::optional<bool> is_in_memory(const std::string& path, unsigned long& type) {
  struct statfs status = {};
  if (statfs(path.c_str(), &status) != 0) return std::nullopt;
  type = static_cast<unsigned long>(status.f_type);
  constexpr unsigned long tmpfs = 0x01021994, ramfs = 0x858458f6, hugetlbfs = 0x958458f6;
  return type == tmpfs || type == ramfs || type == hugetlbfs;
}

bool hides_processes() {
  if (access("/proc/1/status", R_OK) != 0) return true;
  struct stat first = {};
  if (stat("/proc/1", &first) == 0 && first.st_uid != geteuid()) return false;
  // hidepid never hides a user's own processes.
  constexpr unsigned long long trace = 1ULL << 19;  // CAP_SYS_PTRACE, which sees all
  if (std::strtoull(field(read_all("/proc/self/status"), "CapEff").c_str(), nullptr, 16) & trace)
    return false;
  bool hides = false;
  std::istringstream mounts(read_all("/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    char at[8] = "";
    if (std::sscanf(line.c_str(), "%*s %*s %*s %*s %7s", at) == 1 && std::strcmp(at, "/proc") == 0)
      hides = line.find("hidepid=", line.find(" - ")) != line.npos;  // the last mount is on top
  }
  return hides;
}

std::vector<Process> processes(const std::function<bool(FileId, std::string_view)>& is_wanted) {
  std::vector<Process> all;
  for (const pid_t id : numbers_in("/proc")) {
    std::optional<Task> leader = task(id);
    if (!leader || leader->is_kernels) continue;
    Process process;
    process.leader = std::move(*leader);
    process.living = living_thread_of(process.leader);
    if (process.living == 0) continue;
    const std::string folder = "/proc/" + std::to_string(process.living);
    process.pid_namespace = pid_namespace_of(folder);
    const detail::FileDescriptor file = open_to_read(folder + "/maps");
    process.is_seen = file.number >= 0;
    if (process.is_seen) read_maps(read_all(file), is_wanted, process.ranges);
    all.push_back(std::move(process));
  }
  return all;
}

bool read_at(const detail::FileDescriptor& file, std::uint64_t offset, void* to, std::size_t size) {
  return pread(file.number, to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

detail::FileDescriptor open_to_read(const std::string& path) {
  return {open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)};
}

detail::FileDescriptor memory_of(pid_t process) {
  return open_to_read("/proc/" + std::to_string(process) + "/mem");
}

std::optional<Robust> robust_list(pid_t thread, const detail::FileDescriptor& memory, int& reads_left) {
  robust_list_head* at = nullptr;
  std::size_t size = 0;
  Robust found;
  if (memory.number < 0) return std::nullopt;
  if (syscall(SYS_get_robust_list, thread, &at, &size) != 0) {
    if (errno != ESRCH) return std::nullopt;
    return found;  // the thread has ended
  }
  robust_list_head head;
  const auto head_at = reinterpret_cast<std::uint64_t>(at);
  if (at == nullptr || !read_at(memory, head_at, &head, sizeof head)) return found;  // the thread is ending
  const auto lock_of = [](const void* node) {
    constexpr std::uint64_t pi_mark = 1;
    return (reinterpret_cast<std::uint64_t>(node) & ~pi_mark) +
           static_cast<std::uint64_t>(detail::word_from_node);
  };
  if (head.list_op_pending != nullptr) found.pending = lock_of(head.list_op_pending);
  const void* node = head.list.next;
  while (lock_of(node) != lock_of(at)) {
    if (--reads_left < 0) return std::nullopt;
    found.held.push_back(lock_of(node));
    if (!read_at(memory, lock_of(node) - static_cast<std::uint64_t>(detail::word_from_node), &node,
                 sizeof node))
      break;
  }
  return found;
}

}  // namespace command
