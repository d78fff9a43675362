#include "heirlock/detail/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "heirlock/error.hpp"

namespace heirlock::detail {
namespace {

constexpr char directory[] = "/dev/shm";
constexpr char magic[] = {'h', 'e', 'i', 'r', 'l', 'o', 'c', 'k'};
constexpr std::size_t longest_name = 200;

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::system_category(), "heirlock: " + what);
}

[[noreturn]] void refuse(errc code, const std::string& what) {
  throw std::system_error(make_error_code(code), "heirlock: " + what);
}

std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char character : text) result += character >= ' ' && character <= '~' ? character : '?';
  return result + "'";
}

std::string path_of(std::string_view name) {
  const auto bad = [name](const std::string& found) {
    throw std::invalid_argument("heirlock: found a name " + found + ", " +
                                quoted(name.substr(0, longest_name)) +
                                ", expected 1 to 200 letters, digits, '.', '-' and '_'; choose such a name");
  };
  if (name.empty()) bad("of no characters");
  if (name.size() > longest_name) bad("of " + std::to_string(name.size()) + " characters");
  for (const char character : name) {
    const bool allowed = (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
                         (character >= '0' && character <= '9') || character == '.' || character == '-' ||
                         character == '_';
    if (!allowed) bad("with the character " + quoted({&character, 1}));
  }
  return std::string(directory) + "/heirlock." + std::string(name);
}

const char* kind_of(mode_t mode) {
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

void require_trust(const std::string& path, const struct stat& status) {
  const auto distrust = [&path](const std::string& found, const std::string& expected) {
    refuse(errc::not_trusted, path + ": found " + found + ", expected " + expected +
                                  "; use another name, or remove it if it is yours to remove");
  };
  const uid_t user = geteuid();
  if (!S_ISREG(status.st_mode)) distrust(kind_of(status.st_mode), "a file");
  if (status.st_uid != user && status.st_uid != 0)
    distrust("a segment of user " + std::to_string(status.st_uid),
             "one of the calling user " + std::to_string(user) + " or of root");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    distrust("a segment that others than its owner may write", "mode 0600");
  if (status.st_nlink > 1) distrust("a segment with a second name", "one name");
}

void require_layout(const std::string& path, const struct stat& status, int file, const ObjectType& type) {
  const auto mismatch = [&](const std::string& what, const std::string& found, const std::string& expected) {
    refuse(errc::layout_mismatch, path + ", opened as " + type.name + ": found " + what + " " + found +
                                      ", expected " + expected +
                                      "; use another name, or remove it when no process needs it any more");
  };
  const auto compare = [&](const char* what, std::uint64_t found, std::uint64_t expected) {
    if (found != expected) mismatch(what, std::to_string(found), std::to_string(expected));
  };
  const auto size = static_cast<std::uint64_t>(status.st_size);
  SegmentHeader header;
  if (size < sizeof header) mismatch("a size of", std::to_string(size), "at least a header of 64 bytes");
  const ssize_t got = pread(file, &header, sizeof header, 0);
  if (got < 0) fail(errno, "read of " + path);
  if (got != static_cast<ssize_t>(sizeof header))
    mismatch("a header of", std::to_string(got) + " bytes", "64");
  if (std::memcmp(header.magic, magic, sizeof magic) != 0)
    mismatch("a header", "of something else", "heirlock's");
  compare("layout version", header.version, SegmentHeader::current_version);
  compare("an object of size", header.object_size, type.size);
  compare("an object of alignment", header.object_alignment, type.alignment);
  compare("an object of another type, fingerprint", header.fingerprint, type.fingerprint);
  compare("an object at offset", header.object_offset, object_offset(type));
  compare("a recorded size of", header.file_size, object_offset(type) + type.size);
  compare("reserved bytes", header.reserved[0] | header.reserved[1], 0);
  compare("a size of", size, header.file_size);
}

std::optional<Mapping> map(int file, std::size_t size) noexcept {
  const int protection = PROT_READ | PROT_WRITE;
  void* const memory = file < 0 ? mmap(nullptr, size, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
                                : mmap(nullptr, size, protection, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return std::nullopt;
  return Mapping(memory, size);
}

Mapping map_file(int file, std::size_t size, const std::string& path) {
  std::optional<Mapping> mapping = map(file, size);
  if (!mapping) fail(errno, "mmap of " + std::to_string(size) + " bytes of " + path);
  return std::move(*mapping);
}

}  // namespace

Mapping::~Mapping() {
  if (memory_ != nullptr) munmap(memory_, size_);
}

FileDescriptor::~FileDescriptor() {
  if (number_ >= 0) close(number_);
}

Mapping map_anonymous(std::size_t size) {
  std::optional<Mapping> mapping = map(-1, size);
  if (!mapping) fail(errno, "mmap of " + std::to_string(size) + " bytes of shared memory");
  return std::move(*mapping);
}

SegmentDraft::SegmentDraft(std::string_view name, const ObjectType& type)
    : path_(path_of(name)),
      offset_(object_offset(type)),
      file_(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR)) {
  const std::size_t size = offset_ + type.size;
  if (file_.number() < 0)
    fail(errno, "no file could be made in /dev/shm for " + path_ +
                    ", expected a tmpfs there that the caller may write; mount one");
  if (fchmod(file_.number(), S_IRUSR | S_IWUSR) != 0)
    fail(errno, "fchmod of " + path_);  // whatever the umask
  // Reserves the memory: a full /dev/shm is an error now, not SIGBUS later.
  int error = 0;
  do error = posix_fallocate(file_.number(), 0, static_cast<off_t>(size));
  while (error == EINTR);
  if (error != 0)
    fail(error, "no room for " + std::to_string(size) + " bytes in /dev/shm for " + path_ +
                    "; remove what is not needed there, or enlarge it");
  mapping_ = map_file(file_.number(), size, path_);

  SegmentHeader header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = SegmentHeader::current_version;
  header.object_offset = static_cast<std::uint32_t>(offset_);
  header.object_size = type.size;
  header.object_alignment = type.alignment;
  header.fingerprint = type.fingerprint;
  header.file_size = size;
  std::memcpy(mapping_.at(0), &header, sizeof header);
}

bool SegmentDraft::publish() {
  const std::string descriptor = "/proc/self/fd/" + std::to_string(file_.number());
  if (linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) return true;
  if (errno == ENOENT && linkat(file_.number(), "", AT_FDCWD, path_.c_str(), AT_EMPTY_PATH) == 0)
    return true;  // no /proc
  if (errno == EEXIST) return false;
  fail(errno, "linkat, to publish " + path_);
}

Mapping open_segment_if_present(std::string_view name, const ObjectType& type) {
  const std::string path = path_of(name);
  struct stat status {};
  // Looked at before it is opened, since opening a device or a FIFO has effects; and again after, as the
  // truth.
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    fail(errno, "lstat of " + path);
  }
  require_trust(path, status);
  const FileDescriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) {
    if (errno == ENOENT) return {};  // removed meanwhile
    fail(errno, "open of " + path + " for reading and writing");
  }
  if (fstat(file.number(), &status) != 0) fail(errno, "fstat of " + path);
  require_trust(path, status);
  require_layout(path, status, file.number(), type);
  return map_file(file.number(), static_cast<std::size_t>(status.st_size), path);
}

Mapping open_segment(std::string_view name, const ObjectType& type) {
  Mapping found = open_segment_if_present(name, type);
  if (!found) fail(ENOENT, "found no segment " + path_of(name) + ", expected one; create it first");
  return found;
}

bool remove_segment(std::string_view name) {
  const std::string path = path_of(name);
  if (unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  fail(errno, "unlink of " + path);
}

void segment_exists(std::string_view name) {
  fail(EEXIST, "found a segment " + path_of(name) + " already, expected none; open it, or remove it first");
}

}  // namespace heirlock::detail
