#include "picture.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "heirlock/heirlock.h"

namespace command {
namespace {

using detail::LinuxLock;
using detail::Order;

struct HashOfFile {
  std::size_t operator()(FileId file) const { return file.number * 31 + file.device; }
};

Segment segment_at(const std::string& name, const std::string& path) {
  Segment segment;
  segment.name = name;
  segment.path = path;
  struct statx status = {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    segment.trouble = std::strerror(errno);
    return segment;
  }
  segment.file = {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino};
  segment.user = status.stx_uid;
  segment.mode = status.stx_mode;
  segment.links = status.stx_nlink;
  segment.size = status.stx_size;
  segment.made = (status.stx_mask & STATX_BTIME) != 0 ? status.stx_btime.tv_sec : status.stx_ctime.tv_sec;
  segment.written = status.stx_mtime.tv_sec;
  if (!S_ISREG(segment.mode)) {
    segment.trouble = "not a regular file";
    return segment;
  }
  const detail::FileDescriptor file = open_to_read(path);
  detail::SegmentHeader header;
  if (file.number < 0)
    segment.trouble = std::strerror(errno);
  else if (read_at(file, 0, &header, sizeof header) && detail::has_magic(header))
    segment.header = header;
  else
    segment.trouble = "not a segment of heirlock";
  return segment;
}

class Look {
 public:
  explicit Look(const Wanted& wanted) : wanted_(wanted) {}

  Picture operator()() {
    picture_.pid_namespace = own_pid_namespace();
    picture_.is_whole_machine = picture_.pid_namespace == first_pid_namespace;
    picture_.hides_processes = hides_processes();
    find_segments();
    if (picture_.pid_namespace != 0) find_users();
    for (Process& process : picture_.processes) find_waits(process);
    for (std::size_t i = 0; i < picture_.segments.size(); ++i) add_locks(i);
    for (Lock& lock : picture_.locks) find_waiters(lock);
    find_deadlocks();
    return std::move(picture_);
  }

 private:
  // A lock's place: a segment and the offset in its file.
  using Place = std::pair<std::size_t, std::uint64_t>;
  struct Wait {
    Waiter waiter;
    ino_t pid_namespace;
  };

  void add(Segment segment) {
    if (segment.file.number != 0) by_file_[segment.file] = picture_.segments.size();
    picture_.segments.push_back(std::move(segment));
  }

  void find_segments() {
    const std::string prefix = detail::segment_prefix;
    if (wanted_.name.find('/') != wanted_.name.npos) {
      Segment segment = segment_at(wanted_.name, wanted_.name);
      segment.is_own_file = true;
      add(std::move(segment));
    }
    DIR* const stream = opendir(detail::segment_directory);
    if (stream == nullptr) {
      picture_.trouble = std::string(detail::segment_directory) + ": " + std::strerror(errno);
      return;
    }
    while (const dirent* const entry = readdir(stream)) {
      const std::string file = entry->d_name;
      if (file.compare(0, prefix.size(), prefix) == 0)
        add(segment_at(file.substr(prefix.size()), detail::segment_directory + file));
    }
    closedir(stream);
  }

  // Finds the processes that have each segment mapped, and the segments whose names were removed. A creator's
  // mapping is always called "#123 (deleted)", as the file was made without a name.
  void find_users() {
    constexpr std::string_view deleted = " (deleted)";
    std::unordered_map<FileId, std::string, HashOfFile> removed;
    struct stat directory_status = {};
    stat(detail::segment_directory, &directory_status);
    picture_.processes = processes([&](FileId file, std::string_view path) {
      if (by_file_.count(file) != 0) return true;
      const std::string_view directory = detail::segment_directory;
      if (path.substr(0, directory.size()) != directory || path.size() < deleted.size() ||
          path.substr(path.size() - deleted.size()) != deleted)
        return false;
      path = path.substr(directory.size(), path.size() - directory.size() - deleted.size());
      const std::string_view prefix = detail::segment_prefix;
      const bool has_name = path.substr(0, prefix.size()) == prefix;
      if (!has_name && path.substr(0, 1) != "#") return false;
      if (file.device != directory_status.st_dev) {
        picture_.has_other_mounts = true;
        return false;
      }
      std::string& name = removed[file];
      if (has_name)
        name = path.substr(prefix.size());
      else if (name.empty())
        name = path;
      return true;
    });
    for (std::size_t i = 0; i < picture_.processes.size(); ++i) {
      Process& process = picture_.processes[i];
      for (const Range& range : process.ranges) {
        if (by_file_.count(range.file) == 0) add(removed_segment(removed[range.file], process, range));
        std::vector<std::size_t>& users = picture_.segments[by_file_[range.file]].users;
        if (users.empty() || users.back() != i) users.push_back(i);
      }
    }
  }

  static Segment removed_segment(const std::string& name, const Process& process, const Range& range) {
    Segment segment;
    segment.name = name;
    segment.is_removed = true;
    segment.file = range.file;
    segment.user = process.leader.users[3];
    const detail::FileDescriptor memory = memory_of(process.living);
    detail::SegmentHeader header;
    segment.trouble = "not a segment of heirlock";
    if (memory.number < 0) {
      segment.trouble = std::strerror(errno);
    } else if (read_at(memory, range.begin, &header, sizeof header) && detail::has_magic(header)) {
      segment.header = header;
      segment.size = header.file_size;
      segment.trouble.clear();
    }
    return segment;
  }

  // Finds the locks that the process's threads hold or are about to acquire.
  void find_waits(Process& process) {
    if (process.ranges.empty()) return;
    const detail::FileDescriptor memory = memory_of(process.living);
    int reads_left = most_reads;
    for (const pid_t id : task_ids(process.leader.id)) {
      const std::optional<Robust> locks = robust_list(id, memory, reads_left);
      if (!locks) {
        process.is_seen_inside = false;
        return;
      }
      for (const std::uint64_t address : locks->held)
        if (const auto place = place_of(process, address)) places_.insert(*place);
      const auto place = place_of(process, locks->pending);
      if (!place) continue;
      places_.insert(*place);
      if (const std::optional<Task> waiter = task(id))
        waits_[*place].push_back({{*waiter, locks->pending}, process.pid_namespace});
    }
  }

  std::optional<Place> place_of(const Process& process, std::uint64_t address) const {
    const auto& ranges = process.ranges;  // in the order of addresses
    auto range = std::upper_bound(ranges.begin(), ranges.end(), address,
                                  [](std::uint64_t at, const Range& other) { return at < other.begin; });
    if (range == ranges.begin() || (--range)->end < address + sizeof(LinuxLock)) return std::nullopt;
    return Place{by_file_.at(range->file), address - range->begin + range->offset};
  }

  // Reads the lock from the file or, if the name was removed, from a process that has it mapped.
  bool read_lock(const Segment& segment, std::uint64_t offset, LinuxLock& copy) const {
    if (!segment.is_removed) {
      const detail::FileDescriptor file = open_to_read(segment.path);
      struct stat status = {};
      return fstat(file.number, &status) == 0 && FileId{status.st_dev, status.st_ino} == segment.file &&
             read_at(file, offset, &copy, sizeof copy);
    }
    for (const std::size_t user : segment.users) {
      const Process& process = picture_.processes[user];
      const detail::FileDescriptor memory = memory_of(process.living);
      for (const Range& range : process.ranges)
        if (range.file == segment.file && offset >= range.offset &&
            read_at(memory, range.begin + offset - range.offset, &copy, sizeof copy))
          return true;
    }
    return false;
  }

  static std::uint64_t object_in(const Segment& segment) {
    return segment.header && !segment.is_own_file ? segment.header->object_offset : 0;
  }
  std::uint64_t place_in_file(const Lock& lock) const {
    return object_in(picture_.segments[lock.segment]) + lock.offset;
  }

  void add_locks(std::size_t index) {
    const Segment& segment = picture_.segments[index];
    const bool is_wanted = segment.name == wanted_.name && !segment.is_removed;
    const std::uint64_t object = object_in(segment);
    bool has_any = false;
    const auto add_lock = [&](std::uint64_t offset, bool is_sure) {
      Lock lock;
      lock.segment = index;
      lock.offset = offset - object;
      if (!describe(lock, segment, offset) && !is_sure) return;
      picture_.locks.push_back(std::move(lock));
      has_any = true;
    };
    if (segment.is_lock()) add_lock(object, true);
    if (is_wanted && wanted_.offset) add_lock(object + *wanted_.offset, true);
    for (auto at = places_.lower_bound({index, 0}); at != places_.end() && at->first == index; ++at)
      if (!(segment.is_lock() && at->second == object) &&
          !(is_wanted && wanted_.offset && at->second == object + *wanted_.offset))
        add_lock(at->second, false);
    if (has_any || (segment.is_removed && !segment.header && segment.name[0] == '#')) return;
    Lock unknown;
    unknown.segment = index;
    picture_.locks.push_back(unknown);
  }

  // Fills in what the lock's bytes say. False if they cannot be read, or if no lock was ever used there.
  bool describe(Lock& lock, const Segment& segment, std::uint64_t offset) {
    LinuxLock copy;
    // The owner may change between the look at the lock and the look at the owner.
    constexpr int tries = 5;
    for (int i = 0; i < tries; ++i) {
      if (!read_lock(segment, offset, copy)) return false;
      const std::uint32_t word = copy.word.load(Order::relaxed);
      const std::uint32_t owner = detail::owner_of(word);
      const bool is_marked = (word & detail::owner_died_bit) != 0;
      const std::uint64_t owner_id = copy.owner_id.load(Order::relaxed);
      // A lock that was ever used has the namespace of its first user.
      const bool has_marks = word != 0 || owner_id != 0;
      lock.is_other_memory =
          copy.reserved != 0 || (copy.pid_namespace.load(Order::relaxed) == 0 && has_marks);
      if (lock.is_other_memory) return false;
      lock.depth = owner != 0 ? copy.depth.load() : 0;
      lock.pid_namespace = copy.pid_namespace.load(Order::relaxed);
      lock.owner_id = owner_id;
      lock.is_all_zero = word == 0 && owner_id == 0 && lock.pid_namespace == 0;
      lock.owner_there = static_cast<pid_t>(owner);
      lock.state = owner != 0 ? (is_marked ? State::inherited : State::held)
                              : (is_marked ? State::to_be_inherited : State::free);
      lock.owner_is = owner == 0 ? Owner::none : find_owner(lock);
      const bool is_used = detail::is_owner_id(owner_id) && lock.pid_namespace != 0;
      if (lock.owner_is != Owner::dead) return is_used;
      LinuxLock again;
      if (read_lock(segment, offset, again) && again.word.load(Order::relaxed) == word &&
          again.owner_id.load(Order::relaxed) == owner_id)
        return is_used;
    }
    return true;
  }

  Owner find_owner(Lock& lock) {
    if (lock.pid_namespace == picture_.pid_namespace) {
      // The same question that a waiter asks: a zombie, too, is dead.
      const std::optional<Task> owner = task(lock.owner_there);
      if (owner) lock.owner = *owner;
      lock.process_there = lock.owner.process;
      if (detail::LinuxPlatform::owner_is_gone(static_cast<std::uint32_t>(lock.owner_there)))
        return Owner::dead;
      if (!owner) return Owner::hidden;
      return Owner::seen;
    }
    bool is_there = false, may_be_hidden = !picture_.is_whole_machine;
    for (const Process& process : picture_.processes) {
      may_be_hidden = may_be_hidden || process.pid_namespace == 0;
      if (process.pid_namespace != lock.pid_namespace || lock.pid_namespace == 0) continue;
      is_there = true;
      for (const pid_t id : task_ids(process.leader.id)) {
        const std::optional<Task> owner = task(id);
        if (!owner || owner->id_there != lock.owner_there) continue;
        lock.owner = *owner;
        lock.process_there = process.leader.id_there;
        return owner->state == 'Z' ? Owner::dead : Owner::seen;
      }
    }
    return is_there ? Owner::dead : may_be_hidden ? Owner::elsewhere : Owner::namespace_gone;
  }

  // A thread waits if the lock is its pending one and it does not own the lock. (Or it has just released the
  // lock, and another thread has acquired it.)
  void find_waiters(Lock& lock) {
    const Segment& segment = picture_.segments[lock.segment];
    for (const std::size_t user : segment.users)
      lock.all_waiters_seen = lock.all_waiters_seen && picture_.processes[user].is_seen_inside;
    if (lock.state != State::held && lock.state != State::inherited) return;
    const auto waits = waits_.find({lock.segment, place_in_file(lock)});
    if (waits == waits_.end()) return;
    for (const Wait& wait : waits->second)
      if (wait.pid_namespace != lock.pid_namespace || wait.waiter.task.id_there != lock.owner_there)
        lock.waiters.push_back(wait.waiter);
  }

  // Follows each lock's owner to the lock that it waits for.
  void find_deadlocks() {
    std::map<pid_t, std::size_t> waits_for;
    for (std::size_t i = 0; i < picture_.locks.size(); ++i)
      for (const Waiter& waiter : picture_.locks[i].waiters) waits_for[waiter.task.id] = i;
    std::vector<int> seen_from(picture_.locks.size(), -1);
    for (std::size_t start = 0; start < picture_.locks.size(); ++start) {
      std::size_t at = start;
      for (;;) {
        if (seen_from[at] >= 0) break;
        seen_from[at] = static_cast<int>(start);
        const Lock& lock = picture_.locks[at];
        const auto next = lock.owner_is == Owner::seen ? waits_for.find(lock.owner.id) : waits_for.end();
        if (next == waits_for.end()) break;
        if (seen_from[next->second] == static_cast<int>(start)) {
          add_deadlock(next->second, waits_for);
          break;
        }
        at = next->second;
      }
    }
  }

  void add_deadlock(std::size_t first, const std::map<pid_t, std::size_t>& waits_for) {
    std::vector<Link> links;
    std::size_t at = first;
    do {
      const Task& owner = picture_.locks[at].owner;
      const std::size_t next = waits_for.at(owner.id);
      links.push_back({owner, at, next});
      at = next;
    } while (at != first);
    if (lasts(links)) picture_.deadlocks.push_back(std::move(links));
  }

  // The locks were read at different times, so a circle may be an illusion. In a deadlock nothing changes,
  // and each thread is seen asleep once: one that always runs may be releasing the lock.
  bool lasts(const std::vector<Link>& links) const {
    constexpr int fewest_looks = 5, most_looks = 50;
    std::set<pid_t> asleep;
    for (int i = 0; i < most_looks; ++i) {
      for (const Link& link : links) {
        const Lock& held = picture_.locks[link.holds];
        LinuxLock copy;
        int reads_left = most_reads;
        const std::optional<Robust> locks = robust_list(link.task.id, memory_of(link.task.id), reads_left);
        const std::optional<Task> now = task(link.task.id);
        if (!locks || !now || locks->pending != address_awaited(link) ||
            !read_lock(picture_.segments[held.segment], place_in_file(held), copy) ||
            copy.owner_id.load(Order::relaxed) != held.owner_id)
          return false;
        if (now->state != 'R') asleep.insert(now->id);
      }
      if (i + 1 >= fewest_looks && asleep.size() == links.size()) return true;
      usleep(2000);
    }
    return false;
  }

  std::uint64_t address_awaited(const Link& link) const {
    for (const Waiter& waiter : picture_.locks[link.waits_for].waiters)
      if (waiter.task.id == link.task.id) return waiter.address;
    return 0;
  }

  const Wanted& wanted_;
  Picture picture_;
  std::unordered_map<FileId, std::size_t, HashOfFile> by_file_;
  std::set<Place> places_;  // of locks that threads hold or wait for
  std::map<Place, std::vector<Wait>> waits_;
};

}  // namespace

bool Segment::is_lock() const {
  return header && header->version == detail::SegmentHeader::current_version &&
         header->fingerprint == detail::fingerprint_of(HEIRLOCK_LOCK_TYPE);
}

std::string Segment::type() const {
  if (!header) return "?";
  if (is_lock()) return "lock";
  if (header->version != detail::SegmentHeader::current_version) return "?";
  char text[sizeof header->type_name];
  detail::show_type(*header, text, sizeof text);
  return text;
}

std::string Segment::refusal() const {
  if (is_removed || is_own_file || !header) return "";
  if ((mode & (S_IWGRP | S_IWOTH)) != 0) return "users other than its owner may write to it";
  if (links > 1) return "it has a second name";
  if (header->version != detail::SegmentHeader::current_version) return "";
  if (header->file_size != size || header->object_offset + header->object_size != size)
    return "its header has another size than the file";
  if (is_lock() &&
      (header->object_size != sizeof(LinuxLock) || header->object_alignment != alignof(LinuxLock)))
    return "its header is not a lock's";
  return "";
}

const char* name_of(State state) {
  switch (state) {
    case State::unknown:
      return "?";
    case State::free:
      return "free";
    case State::held:
      return "held";
    case State::to_be_inherited:
      return "to be inherited";
    case State::inherited:
      return "inherited";
  }
  return "?";
}

std::string id_of(const Task& task) {
  std::string text = std::to_string(task.process);
  if (task.id != task.process) text += "/" + std::to_string(task.id);
  return text;
}

std::string who(const Task& task) {
  return task.command + " " + id_of(task);
}

std::string Picture::name(const Lock& lock) const {
  std::string text = segments[lock.segment].name;
  if (lock.offset != 0) text += "+" + std::to_string(lock.offset);
  return text;
}

const char* who_sees_more() {
  return geteuid() == 0 ? "ask as the host's root" : "ask as root";
}

std::string users_of(const Picture& picture, const Segment& segment) {
  std::string text;
  for (const std::size_t user : segment.users)
    text += (text.empty() ? "mapped by " : ", ") + who(picture.processes[user].leader);
  return text;
}

std::string reason_to_keep(const Picture& picture, const Segment& segment, bool others_use_none) {
  if (!segment.users.empty()) return users_of(picture, segment);
  if (!segment.header) return segment.trouble;
  if (picture.pid_namespace == 0) return "without /proc it is unknown who has it mapped";
  const std::string advice = std::string("; ") + who_sees_more();
  if (picture.hides_processes)
    return "this /proc hides processes (hidepid), which may have it mapped" + advice;
  // A process that opens a segment runs as the segment's user or as root, and root may have changed its user.
  for (const Process& process : picture.processes)
    if (!process.is_seen && (segment.user == 0 || process.leader.runs_as(segment.user)))
      return who(process.leader) + " may have it mapped, and cannot be examined" + advice;
  if (others_use_none || picture.is_whole_machine) return "";
  for (const Lock& lock : picture.locks)  // only processes of a lock's own PID namespace can use it
    if (&picture.segments[lock.segment] == &segment && segment.is_lock() &&
        lock.pid_namespace == picture.pid_namespace)
      return "";
  return "processes of other PID namespaces may have it mapped and cannot be seen from here; ask as the "
         "host's "
         "root, or see heirlock clean --foreign";
}

Picture look(const Wanted& wanted) {
  return Look(wanted)();
}

}  // namespace command
