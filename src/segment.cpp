#include "heirlock/detail/segment.hpp"

#if defined(__GXX_RTTI)  // not in the library for C, which needs no C++ runtime
#include <cxxabi.h>
#endif
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
#include <new>

#include "last_error.hpp"

namespace heirlock::detail_v0_1 {
namespace {

using Algorithm = LockAlgorithm<LinuxPlatform>;

constexpr std::size_t longest_name = 200;

// By syscall(): libc's open() is a cancellation point, at which the thread could end half-way. So are others
// below.
int open_file(const char* path, int flags) noexcept {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, S_IRUSR | S_IWUSR));
}

using Path = char[224];

// --- What is mapped ---

// A segment that this process has mapped. Their list is consistent after every store, since a child may be
// forked at any time.
struct MappedSegment {
  dev_t device;
  ino_t file;
  std::size_t size;  // a file that has grown since is mapped again
  void* memory;
  LinuxLock* lock;  // given by a handle that was closed, or null
  std::uint32_t handles;
  bool is_static;  // whether a handle was in static storage
  Path path;       // at the first open
  std::atomic<MappedSegment*> next{nullptr};
};
std::atomic<MappedSegment*> first_mapped{nullptr};

// The pointer to the first segment that `is_it`, or the null pointer at the end of the list.
template <class IsIt>
std::atomic<MappedSegment*>& find_mapped(IsIt is_it) noexcept {
  auto* place = &first_mapped;
  while (MappedSegment* const segment = place->load(std::memory_order_relaxed)) {
    if (is_it(*segment)) break;
    place = &segment->next;
  }
  return *place;
}

std::atomic<MappedSegment*>& find_mapped_at(const void* memory) noexcept {
  return find_mapped([memory](const MappedSegment& segment) { return segment.memory == memory; });
}

template <class Action>
Outcome holding_process(Action action) noexcept {
  LinuxLock* lock = nullptr;
  if (const Outcome outcome = hold_process(lock); is_refused(outcome)) return outcome;
  const Outcome outcome = action();
  Algorithm::release(*lock);
  return outcome;
}

// Makes a handle of the open file's segment. The caller holds the process's lock.
Outcome find_or_map(int file, const char* path, Mapping& handle) noexcept {
  struct stat status = {};
  if (fstat(file, &status) != 0) return refused(heirlock_system_error, errno, "fstat of %s failed", path);
  const auto size = static_cast<std::size_t>(status.st_size);
  auto& place = find_mapped([&](const MappedSegment& other) {
    return other.device == status.st_dev && other.file == status.st_ino && other.size == size;
  });
  MappedSegment* segment = place.load(std::memory_order_relaxed);
  if (segment == nullptr) {
    // Not by malloc(): if _Fork made this process, malloc's own lock may be held for ever.
    constexpr int writable = PROT_READ | PROT_WRITE;
    void* const room = mmap(nullptr, sizeof *segment, writable, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void* const memory = room == MAP_FAILED ? MAP_FAILED : mmap(nullptr, size, writable, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
      const int error = errno;
      if (room != MAP_FAILED) munmap(room, sizeof *segment);
      return refused(heirlock_system_error, error, "cannot map %zu bytes of %s", size, path);
    }
    segment = ::new (room) MappedSegment{status.st_dev, status.st_ino, size, memory, nullptr, 0, false, ""};
    std::snprintf(segment->path, sizeof segment->path, "%s", path);
    place.store(segment, std::memory_order_release);
  }
  ++segment->handles;
  handle = Mapping(segment->memory, size, true);
  return heirlock_done;
}

Outcome map_segment(int file, const char* path, Mapping& handle) noexcept {
  return holding_process([&] { return find_or_map(file, path, handle); });
}

// Whether a thread of this process holds the lock, as far as the kernel tells.
bool is_held_in_this_process(const LinuxLock& lock) noexcept {
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  return owner != 0 && (syscall(SYS_tgkill, getpid(), owner, 0) == 0 || errno != ESRCH);
}

// Frees the caller's locks in the memory, as its robust list must not lead to unmapped memory. Locks that the
// caller acquired through another copy of the library are left to that copy.
void give_up_locks_in(const void* memory, std::size_t size) noexcept {
  const LinuxThread* const me = LinuxPlatform::known_thread();
  if (me == nullptr) return;
  for (auto at = LinuxPlatform::first(*me); at != LinuxPlatform::head(*me);) {
    const auto next = LinuxPlatform::next(at);
    const auto lock = at + static_cast<LinuxPlatform::Link>(word_from_node);
    if (lock - reinterpret_cast<LinuxPlatform::Link>(memory) < size &&
        LinuxPlatform::owner_id_at(at) == me->id)
      Algorithm::abandon(*reinterpret_cast<LinuxLock*>(lock));
    at = next;
  }
}

// Whether the address lies in the program's or a library's own data.
bool is_static(void* address) noexcept {
#ifdef DLFO_STRUCT_HAS_EH_COUNT  // glibc 2.35
  // Unlike dladdr(), acquires no lock, which may be held for ever in a child of _Fork, and works in static
  // programs.
  dl_find_object object;
  return _dl_find_object(address, &object) == 0;
#else
  Dl_info object;
  return dladdr(address, &object) != 0;
#endif
}

// --- Names, trust and layout ---

Outcome set_path(Path& path, std::string_view name) noexcept {
  char shown_name[longest_name + 1];
  const std::size_t shown = name.size() < longest_name ? name.size() : longest_name;
  bool is_good = shown != 0 && shown == name.size();
  for (std::size_t i = 0; i < shown; ++i) {
    const char c = name.data()[i];
    is_good = is_good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '.' || c == '-' || c == '_');
    shown_name[i] = printable(c);
  }
  shown_name[shown] = '\0';
  if (!is_good)
    return refused(
        heirlock_invalid_name, 0,
        "the name '%s' of %zu characters is not allowed; use 1 to 200 letters, digits, '.', '-' and '_'",
        shown_name, name.size());
  std::snprintf(path, sizeof path, "%s%s%s", segment_directory, segment_prefix, shown_name);
  return heirlock_done;
}

const char* kind_of(mode_t mode) noexcept {
  return S_ISREG(mode)    ? "a file"
         : S_ISLNK(mode)  ? "a symbolic link"
         : S_ISDIR(mode)  ? "a directory"
         : S_ISFIFO(mode) ? "a FIFO"
         : S_ISSOCK(mode) ? "a socket"
                          : "a device";
}

// Says whose file it is, and why the caller cannot use it.
Outcome not_for_caller(Outcome outcome, int system, const char* path, const struct stat& status,
                       const char* why, const char* first_remedy) noexcept {
  return refused(
      outcome, system,
      "%s is %s of user %u with mode %04o, %s (the caller is user %u); %suse another name, or remove "
      "it only if no process uses it",
      path, kind_of(status.st_mode), status.st_uid, status.st_mode & 07777U, why, geteuid(), first_remedy);
}

Outcome require_trust(const char* path, const struct stat& status) noexcept {
  const auto distrust = [&](const char* why, const char* first_remedy = "") {
    return not_for_caller(heirlock_not_trusted, 0, path, status, why, first_remedy);
  };
  if (!S_ISREG(status.st_mode)) return distrust("not a segment");
  if (status.st_uid != geteuid() && status.st_uid != 0)
    return distrust("and that user is neither the caller nor root", "run as that user, ");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return distrust("so users other than its owner may write to it",
                    "chmod it to 600 if you trust its data, ");
  if (status.st_nlink > 1) return distrust("and has a second name");
  return heirlock_done;
}

SegmentHeader header_of(const ObjectType& type) noexcept {
  const auto offset = static_cast<std::uint32_t>(object_offset(type));
  SegmentHeader header{{'h', 'e', 'i', 'r', 'l', 'o', 'c', 'k'},
                       SegmentHeader::current_version,
                       offset,
                       type.size,
                       type.alignment,
                       fingerprint_of(type.name),
                       offset + type.size,
                       {}};
  std::size_t length = 0;
  for_each_recorded(type.name, [&](char character) {
    if (length < sizeof header.type_name - 1) header.type_name[length++] = character;
  });
  return header;
}

Outcome require_layout(const char* path, const struct stat& status, int file,
                       const ObjectType& type) noexcept {
  const auto mismatch = [path](const char* found, const char* expected) {
    return refused(heirlock_layout_mismatch, 0,
                   "%s: found %s, expected %s; use another name, or remove it only if no process uses it",
                   path, found, expected);
  };
  char found[144];
  char expected[80];
  SegmentHeader header;
  const long got = syscall(SYS_pread64, file, &header, sizeof header, 0L);
  if (got < 0) return refused(heirlock_system_error, errno, "read of %s failed", path);
  if (got < static_cast<long>(sizeof header)) {
    std::snprintf(found, sizeof found, "a header of %ld bytes", got);
    return mismatch(found, "256");
  }
  const SegmentHeader right = header_of(type);
  if (std::memcmp(&header, &right, sizeof right) == 0 &&
      static_cast<std::uint64_t>(status.st_size) == right.file_size)
    return heirlock_done;
  if (!has_magic(header)) return mismatch("another program's file", "a segment of heirlock");
  if (header.version != right.version) {
    std::snprintf(found, sizeof found, "layout version %" PRIu32, header.version);
    std::snprintf(expected, sizeof expected, "%" PRIu32, right.version);
    return mismatch(found, expected);
  }
  char shown[sizeof expected];
  show_type(header, shown, sizeof shown);
  if (std::memcmp(header.type_name, right.type_name, sizeof right.type_name) != 0) {
    std::snprintf(found, sizeof found, "type %s", shown);
    show_type(right, expected, sizeof expected);
    return mismatch(found, expected);
  }
  const struct {
    const char* what;
    std::uint64_t found, expected;
  } fields[] = {
      {"size", header.object_size, right.object_size},
      {"alignment", header.object_alignment, right.object_alignment},
      {"fingerprint", header.fingerprint, right.fingerprint},
      {"object offset", header.object_offset, right.object_offset},
      {"recorded file size", header.file_size, right.file_size},
      {"file size", static_cast<std::uint64_t>(status.st_size), right.file_size},
  };
  for (const auto& field : fields) {
    if (field.found == field.expected) continue;
    std::snprintf(found, sizeof found, "type %s with %s %" PRIu64, shown, field.what, field.found);
    std::snprintf(expected, sizeof expected, "%" PRIu64, field.expected);
    return mismatch(found, expected);
  }
  return heirlock_done;
}

}  // namespace

#if defined(__GXX_RTTI)
namespace {
// Back references (S_, T0_) and pack expansions (Dp) could make a hostile name demangle to gigabytes.
bool stays_short(const char* name) noexcept {
  constexpr int most = 8;
  int references = 0;
  for (const char* at = name; *at != '\0'; ++at)
    if ((*at == 'S' || *at == 'T') &&
        at[1 + std::strspn(at + 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '_')
      ++references;
  return references <= most && std::strstr(name, "Dp") == nullptr;
}
}  // namespace
#endif

void show_type(const SegmentHeader& header, char* shown, std::size_t room) noexcept {
  char name[sizeof header.type_name + 1] = "";  // the header may lack the 0 at the end
  std::memcpy(name, header.type_name, sizeof header.type_name);
  char* demangled = nullptr;
#if defined(__GXX_RTTI)
  if (stays_short(name)) demangled = abi::__cxa_demangle(name, nullptr, nullptr, nullptr);
#endif
  std::size_t length = 0;
  for (const char* at = demangled == nullptr ? name : demangled; *at != '\0' && length + 1 < room; ++at)
    shown[length++] = printable(*at);
  shown[length] = '\0';
  std::free(demangled);
}

Outcome Mapping::end(LinuxLock* lock) noexcept {
  if (memory_ == nullptr) return heirlock_done;
  const ErrnoKept errno_kept;
  if (!is_segment_) {
    give_up_locks_in(memory_, size_);
    if (!is_static(this) && (lock == nullptr || !is_held_in_this_process(*lock))) munmap(memory_, size_);
    memory_ = nullptr;
    return heirlock_done;
  }
  return holding_process([&]() -> Outcome {
    auto& place = find_mapped_at(memory_);
    MappedSegment* const segment = place.load(std::memory_order_relaxed);
    memory_ = nullptr;
    if (segment == nullptr) return heirlock_done;
    if (lock != nullptr) segment->lock = lock;
    segment->is_static = segment->is_static || is_static(this);
    if (--segment->handles != 0) return heirlock_done;
    give_up_locks_in(segment->memory, size_);
    if (segment->is_static || (segment->lock != nullptr && is_held_in_this_process(*segment->lock)))
      return heirlock_done;
    // Unlink first: a child may be forked between any two of these lines.
    place.store(segment->next.load(std::memory_order_relaxed), std::memory_order_release);
    munmap(segment->memory, size_);
    munmap(segment, sizeof *segment);
    return heirlock_done;
  });
}

bool Mapping::is_named() const noexcept {
  const ErrnoKept errno_kept;
  bool is_named = false;
  holding_process([&]() -> Outcome {
    const MappedSegment* const segment = find_mapped_at(memory_).load(std::memory_order_relaxed);
    struct stat status = {};
    is_named = segment != nullptr && lstat(segment->path, &status) == 0 && status.st_dev == segment->device &&
               status.st_ino == segment->file;
    return heirlock_done;
  });
  return is_named;
}

FileDescriptor::~FileDescriptor() {
  if (number >= 0) syscall(SYS_close, number);
}

Outcome map_anonymous(std::size_t size, Mapping& made) noexcept {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return refused(heirlock_system_error, errno, "cannot map %zu bytes of shared memory", size);
  made = Mapping(memory, size, false);
  return heirlock_done;
}

Outcome SegmentDraft::begin(std::string_view name, const ObjectType& type) noexcept {
  if (const Outcome outcome = set_path(path_, name); is_refused(outcome)) return outcome;
  const std::size_t size = object_offset(type) + type.size;
  file_.number = open_file(segment_directory, O_TMPFILE | O_RDWR);
  if (file_.number < 0)
    return refused(
        heirlock_system_error, errno,
        "cannot create a file in /dev/shm for %s; mount a tmpfs there that the caller may write to", path_);
  if (fchmod(file_.number, S_IRUSR | S_IWUSR) != 0)
    return refused(heirlock_system_error, errno, "fchmod of %s failed", path_);  // past the umask
  // Reserve the memory now: otherwise a full /dev/shm is a SIGBUS later.
  long failed = 0;
  do failed = syscall(SYS_fallocate, file_.number, 0, 0L, size);
  while (failed != 0 && errno == EINTR);
  if (failed != 0)
    return refused(
        heirlock_system_error, errno,
        "/dev/shm has no room for the %zu bytes of %s; remove unused segments with `heirlock clean`, "
        "or enlarge /dev/shm",
        size, path_);
  if (const Outcome outcome = map_segment(file_.number, path_, mapping_); is_refused(outcome)) return outcome;
  ::new (mapping_.at(0)) SegmentHeader(header_of(type));
  return heirlock_done;
}

Outcome SegmentDraft::publish(Mapping& made) noexcept {
  // Under the process's lock, so that ThreadSanitizer sees that other threads open the segment later.
  return holding_process([&]() -> Outcome {
    char descriptor[32];
    std::snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", file_.number);
    if (linkat(AT_FDCWD, descriptor, AT_FDCWD, path_, AT_SYMLINK_FOLLOW) == 0 ||
        (errno == ENOENT && linkat(file_.number, "", AT_FDCWD, path_, AT_EMPTY_PATH) == 0)) {  // no /proc
      made = std::move(mapping_);
      return heirlock_done;
    }
    return refused(heirlock_system_error, errno,
                   errno == EEXIST
                       ? "a segment %s exists already; open it, or remove it only if no process uses it"
                       : "linkat to %s failed",
                   path_);
  });
}

Outcome open_segment(std::string_view name, const ObjectType& type, Mapping& opened) noexcept {
  Path path;
  if (const Outcome outcome = set_path(path, name); is_refused(outcome)) return outcome;
  const auto missing_or = [&path](const char* otherwise) {
    return refused(heirlock_system_error, errno,
                   errno == ENOENT ? "there is no segment %s; create it first" : otherwise, path);
  };
  struct stat status = {};
  // Check before the open, as opening a device has effects, and again after it, as the name may lead
  // elsewhere.
  if (lstat(path, &status) != 0) return missing_or("lstat of %s failed");
  if (const Outcome outcome = require_trust(path, status); is_refused(outcome)) return outcome;
  const FileDescriptor file{open_file(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)};
  if (file.number < 0 && errno == EACCES)
    return not_for_caller(heirlock_system_error, errno, path, status,
                          "so the caller may not both read and write it",
                          status.st_uid == geteuid() ? "chmod it to 600, " : "run as that user, ");
  if (file.number < 0) return missing_or("open of %s failed");
  if (fstat(file.number, &status) != 0)
    return refused(heirlock_system_error, errno, "fstat of %s failed", path);
  if (const Outcome outcome = require_trust(path, status); is_refused(outcome)) return outcome;
  if (const Outcome outcome = require_layout(path, status, file.number, type); is_refused(outcome))
    return outcome;
  return map_segment(file.number, path, opened);
}

Outcome remove_segment(std::string_view name) noexcept {
  Path path;
  if (const Outcome outcome = set_path(path, name); is_refused(outcome)) return outcome;
  if (unlink(path) == 0) return heirlock_done;
  const int error = errno;
  struct stat status = {};
  if ((error == EPERM || error == EACCES) && lstat(path, &status) == 0)
    return not_for_caller(heirlock_system_error, error, path, status, "so the caller may not remove it",
                          "run as that user, ");
  return refused(heirlock_system_error, error,
                 error == ENOENT ? "there is no segment %s to remove" : "unlink of %s failed", path);
}

}  // namespace heirlock::detail_v0_1
