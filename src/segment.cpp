#include "heirlock/detail/segment.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "last_error.hpp"

namespace heirlock {
inline namespace v0_1 {
namespace detail {
namespace {

using Algorithm = LockAlgorithm<LinuxPlatform>;

constexpr char directory[] = "/dev/shm";
constexpr char magic[] = {'h', 'e', 'i', 'r', 'l', 'o', 'c', 'k'};
constexpr std::size_t longest_name = 200;

class FileDescriptor {
 public:
  explicit FileDescriptor(int number) noexcept : number_(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const noexcept { return number_; }

 private:
  const int number_;
};

// --- What is mapped ---

// The segments that this process has mapped, in a list that is whole between any two stores to it.
struct MappedSegment {
  dev_t device;
  ino_t file;
  char* memory;
  std::size_t handles;
  std::atomic<MappedSegment*> next;
};
std::atomic<MappedSegment*> first_mapped{nullptr};

// The place that leads to the first that `is_it`, or the last place of the list.
template <class IsIt>
std::atomic<MappedSegment*>& find_mapped(IsIt is_it) noexcept {
  auto* place = &first_mapped;
  while (MappedSegment* const segment = place->load(std::memory_order_relaxed)) {
    if (is_it(*segment)) break;
    place = &segment->next;
  }
  return *place;
}

class ProcessHeld {
 public:
  ProcessHeld() noexcept : outcome_(hold_process(lock_)) {}
  ProcessHeld(const ProcessHeld&) = delete;
  ProcessHeld& operator=(const ProcessHeld&) = delete;
  ~ProcessHeld() {
    if (!is_refused(outcome_)) Algorithm::release(*lock_);
  }
  Outcome outcome() const noexcept { return outcome_; }

 private:
  LinuxLock* lock_ = nullptr;
  const Outcome outcome_;
};

// A handle of the open file's segment, mapped at `memory` if need be. The caller holds the process.
Outcome share(int file, char* memory, const char* path, Mapping& handle) noexcept {
  struct stat status {};
  if (fstat(file, &status) != 0) return refused(Outcome::system_error, errno, "fstat of %s", path);
  const auto size = static_cast<std::size_t>(status.st_size);
  auto& place = find_mapped([&](const MappedSegment& other) {
    return other.device == status.st_dev && other.file == status.st_ino;
  });
  MappedSegment* segment = place.load(std::memory_order_relaxed);
  if (segment == nullptr) {
    segment = static_cast<MappedSegment*>(std::calloc(1, sizeof *segment));
    if (segment == nullptr)
      return refused(Outcome::system_error, ENOMEM, "no memory for a handle of %s", path);
    void* const mapped =
        memory != nullptr ? memory : mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
      const int error = errno;
      std::free(segment);
      return refused(Outcome::system_error, error, "mmap of %zu bytes of %s", size, path);
    }
    segment->device = status.st_dev;
    segment->file = status.st_ino;
    segment->memory = static_cast<char*>(mapped);
    place.store(segment, std::memory_order_release);
  }
  ++segment->handles;
  handle = Mapping(segment->memory, size, true);
  return Outcome::done;
}

// Of another thread than the calling one.
bool is_held_in_this_process(const LinuxLock& lock) noexcept {
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  return owner != 0 && syscall(SYS_tgkill, getpid(), owner, 0) == 0;
}

// --- What is accepted ---

const char* kind_of(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a file";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

Outcome require_trust(const char* path, const struct stat& status) noexcept {
  const auto distrust = [path](const char* found, const char* expected) {
    return refused(Outcome::not_trusted, 0,
                   "%s: found %s, expected %s; use another name, or remove it if it is yours to remove", path,
                   found, expected);
  };
  const uid_t user = geteuid();
  if (!S_ISREG(status.st_mode)) return distrust(kind_of(status.st_mode), "a file");
  if (status.st_uid != user && status.st_uid != 0) {
    char found[48];
    char expected[64];
    std::snprintf(found, sizeof found, "a segment of user %u", status.st_uid);
    std::snprintf(expected, sizeof expected, "one of the calling user %u or of root", user);
    return distrust(found, expected);
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return distrust("a segment that others than its owner may write", "mode 0600");
  if (status.st_nlink > 1) return distrust("a segment with a second name", "one name");
  return Outcome::done;
}

Outcome require_layout(const char* path, const struct stat& status, int file,
                       const ObjectType& type) noexcept {
  const auto mismatch = [&](const char* found, const char* expected) {
    return refused(Outcome::layout_mismatch, 0,
                   "%s, opened as %s: found %s, expected %s; use another name, or remove it when no process "
                   "needs it any more",
                   path, type.name, found, expected);
  };
  char found[80];
  char expected[32];
  SegmentHeader header;
  const ssize_t got = pread(file, &header, sizeof header, 0);
  if (got < 0) return refused(Outcome::system_error, errno, "read of %s", path);
  if (got < static_cast<ssize_t>(sizeof header)) {
    std::snprintf(found, sizeof found, "a header of %zd bytes", got);
    return mismatch(found, "64");
  }
  if (std::memcmp(header.magic, magic, sizeof magic) != 0)
    return mismatch("a header of something else", "heirlock's");
  const struct {
    const char* what;
    std::uint64_t found, expected;
  } fields[] = {
      {"layout version", header.version, SegmentHeader::current_version},
      {"an object of size", header.object_size, type.size},
      {"an object of alignment", header.object_alignment, type.alignment},
      {"an object of another type, fingerprint", header.fingerprint, type.fingerprint},
      {"an object at offset", header.object_offset, object_offset(type)},
      {"a recorded size of", header.file_size, object_offset(type) + type.size},
      {"reserved bytes", header.reserved[0] | header.reserved[1], 0},
      {"a size of", static_cast<std::uint64_t>(status.st_size), header.file_size},
  };
  for (const auto& field : fields) {
    if (field.found == field.expected) continue;
    std::snprintf(found, sizeof found, "%s %" PRIu64, field.what, field.found);
    std::snprintf(expected, sizeof expected, "%" PRIu64, field.expected);
    return mismatch(found, expected);
  }
  return Outcome::done;
}

}  // namespace

void Mapping::end_unless_static(LinuxLock* lock) noexcept {
  Dl_info library;
  if (memory_ != nullptr && dladdr(this, &library) == 0) end(lock);
}

void Mapping::end(LinuxLock* lock) noexcept {
  const ErrnoKept errno_kept;
  const auto unmap = [&] {
    if (lock != nullptr && Algorithm::is_owned(*lock))
      Algorithm::abandon(*lock);
    else if (lock != nullptr && is_held_in_this_process(*lock))
      return false;
    return munmap(memory_, size_) == 0;
  };
  if (!is_segment_) {
    unmap();
  } else if (const ProcessHeld held; !is_refused(held.outcome())) {
    auto& place = find_mapped([this](const MappedSegment& other) { return other.memory == memory_; });
    MappedSegment* const segment = place.load(std::memory_order_relaxed);
    if (--segment->handles == 0 && unmap()) {
      place.store(segment->next.load(std::memory_order_relaxed), std::memory_order_release);
      std::free(segment);
    }
  }
  memory_ = nullptr;
}

Outcome map_anonymous(std::size_t size, Mapping& made) noexcept {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return refused(Outcome::system_error, errno, "mmap of %zu bytes of shared memory", size);
  made = Mapping(memory, size, false);
  return Outcome::done;
}

Outcome SegmentPath::set(std::string_view name) noexcept {
  char printable[longest_name + 1] = "";
  bool is_good = !name.empty() && name.size() <= longest_name;
  for (std::size_t i = 0; i < name.size() && i < longest_name; ++i) {
    const char c = name[i];
    is_good = is_good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '.' || c == '-' || c == '_');
    printable[i] = c >= ' ' && c <= '~' ? c : '?';
  }
  if (!is_good)
    return refused(
        Outcome::invalid_name, 0,
        "found a name of %zu characters, '%s', expected 1 to 200 letters, digits, '.', '-' and '_'; "
        "choose such a name",
        name.size(), printable);
  std::snprintf(text, sizeof text, "%s/heirlock.%s", directory, printable);
  return Outcome::done;
}

SegmentDraft::~SegmentDraft() {
  const ErrnoKept errno_kept;
  if (memory_ != nullptr) munmap(memory_, size_);
  if (file_ >= 0) close(file_);
}

Outcome SegmentDraft::begin(std::string_view name, const ObjectType& type) noexcept {
  if (const Outcome outcome = path_.set(name); is_refused(outcome)) return outcome;
  offset_ = object_offset(type);
  size_ = offset_ + type.size;
  file_ = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file_ < 0)
    return refused(
        Outcome::system_error, errno,
        "no file could be made in /dev/shm for %s, expected a tmpfs there that the caller may write; "
        "mount one",
        path_.text);
  if (fchmod(file_, S_IRUSR | S_IWUSR) != 0)
    return refused(Outcome::system_error, errno, "fchmod of %s", path_.text);  // past the umask
  // Reserves the memory: a full /dev/shm is an error now, not SIGBUS later.
  int error = 0;
  do error = posix_fallocate(file_, 0, static_cast<off_t>(size_));
  while (error == EINTR);
  if (error != 0)
    return refused(Outcome::system_error, error,
                   "no room for %zu bytes in /dev/shm for %s; remove what is not needed there, or enlarge it",
                   size_, path_.text);
  void* const memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (memory == MAP_FAILED)
    return refused(Outcome::system_error, errno, "mmap of %zu bytes of %s", size_, path_.text);
  memory_ = static_cast<char*>(memory);

  SegmentHeader header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = SegmentHeader::current_version;
  header.object_offset = static_cast<std::uint32_t>(offset_);
  header.object_size = type.size;
  header.object_alignment = type.alignment;
  header.fingerprint = type.fingerprint;
  header.file_size = size_;
  std::memcpy(memory_, &header, sizeof header);
  return Outcome::done;
}

Outcome SegmentDraft::publish(Mapping& made) noexcept {
  const ProcessHeld held;  // nobody else in the process maps it before it is listed
  if (is_refused(held.outcome())) return held.outcome();
  if (const Outcome outcome = share(file_, memory_, path_.text, made); is_refused(outcome)) return outcome;
  memory_ = nullptr;
  char descriptor[32];
  std::snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", file_);
  if (linkat(AT_FDCWD, descriptor, AT_FDCWD, path_.text, AT_SYMLINK_FOLLOW) == 0) return Outcome::done;
  if (errno == ENOENT && linkat(file_, "", AT_FDCWD, path_.text, AT_EMPTY_PATH) == 0)
    return Outcome::done;  // no /proc
  const int error = errno;
  made.end();
  if (error == EEXIST)
    return refused(Outcome::system_error, error,
                   "found a segment %s already, expected none; open it, or remove it first", path_.text);
  return refused(Outcome::system_error, error, "linkat, to publish %s", path_.text);
}

Outcome open_segment(std::string_view name, const ObjectType& type, Mapping& opened) noexcept {
  SegmentPath path;
  if (const Outcome outcome = path.set(name); is_refused(outcome)) return outcome;
  const auto missing_or = [&path](const char* otherwise) {
    return refused(Outcome::system_error, errno,
                   errno == ENOENT ? "found no segment %s, expected one; create it first" : otherwise,
                   path.text);
  };
  struct stat status {};
  // Looked at before it is opened, since opening a device or a FIFO has effects; and again after, as the
  // truth.
  if (lstat(path.text, &status) != 0) return missing_or("lstat of %s");
  if (const Outcome outcome = require_trust(path.text, status); is_refused(outcome)) return outcome;
  const FileDescriptor file(open(path.text, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) return missing_or("open of %s for reading and writing");
  if (fstat(file.number(), &status) != 0)
    return refused(Outcome::system_error, errno, "fstat of %s", path.text);
  if (const Outcome outcome = require_trust(path.text, status); is_refused(outcome)) return outcome;
  if (const Outcome outcome = require_layout(path.text, status, file.number(), type); is_refused(outcome))
    return outcome;
  const ProcessHeld held;
  if (is_refused(held.outcome())) return held.outcome();
  return share(file.number(), nullptr, path.text, opened);
}

Outcome remove_segment(std::string_view name) noexcept {
  SegmentPath path;
  if (const Outcome outcome = path.set(name); is_refused(outcome)) return outcome;
  if (unlink(path.text) == 0) return Outcome::done;
  return refused(Outcome::system_error, errno,
                 errno == ENOENT
                     ? "found no segment %s to remove, expected one; it may have been removed already"
                     : "unlink of %s",
                 path.text);
}

}  // namespace detail
}  // namespace v0_1
}  // namespace heirlock
