// Memory that processes share: anonymous mappings, and named segments in /dev/shm.
#ifndef HEIRLOCK_DETAIL_SEGMENT_HPP
#define HEIRLOCK_DETAIL_SEGMENT_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace heirlock::detail {

/// One mapping, unmapped with the handle. The kernel counts who else still uses the memory.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(void* memory, std::size_t size) noexcept : memory_(memory), size_(size) {}
  Mapping(Mapping&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();

  void* at(std::size_t offset) const noexcept { return static_cast<char*>(memory_) + offset; }
  explicit operator bool() const noexcept { return memory_ != nullptr; }
  /// Leaves the memory mapped for as long as the process lives.
  void keep() noexcept { memory_ = nullptr; }

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int number) noexcept : number_(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();
  int number() const noexcept { return number_; }

 private:
  const int number_;
};

/// Zeroed memory that children forked later share. Throws std::system_error when there is none to be had.
Mapping map_anonymous(std::size_t size);

/// What a named segment holds, as its header says it.
struct ObjectType {
  std::uint64_t size;
  std::uint64_t alignment;    // at most a page
  std::uint64_t fingerprint;  // of the type's name
  const char* name;           // for messages; not stored
};

/// FNV-1a, 64 bits, of the type's name in the Itanium C++ ABI: the same for every compiler on Linux.
constexpr std::uint64_t fingerprint_of(std::string_view mangled_name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char character : mangled_name)
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x00000100000001b3;
  return hash;
}

// The first 64 bytes of a named segment. SPECIFICATION.md gives its bytes.
struct SegmentHeader {
  static constexpr std::uint32_t current_version = 1;

  char magic[8];
  std::uint32_t version;
  std::uint32_t object_offset;
  std::uint64_t object_size;
  std::uint64_t object_alignment;
  std::uint64_t fingerprint;
  std::uint64_t file_size;
  std::uint64_t reserved[2];
};
static_assert(sizeof(SegmentHeader) == 64);

constexpr std::size_t object_offset(const ObjectType& type) noexcept {
  return type.alignment > sizeof(SegmentHeader) ? type.alignment : sizeof(SegmentHeader);
}

/// A segment in the making, in a file without a name: nobody sees it half-built, and nothing is left of it
/// when its maker dies or throws.
class SegmentDraft {
 public:
  /// Throws std::invalid_argument on a bad name, std::system_error when there is no room or no /dev/shm.
  SegmentDraft(std::string_view name, const ObjectType& type);

  void* object() const noexcept { return mapping_.at(offset_); }
  /// Gives the finished segment its name. Returns false when the name is taken.
  bool publish();
  Mapping take() noexcept { return std::move(mapping_); }

 private:
  std::string path_;
  std::size_t offset_;
  FileDescriptor file_;
  Mapping mapping_;
};

/// Maps an existing segment after checking that it can be trusted and holds a `type`; nothing when there is
/// none. Throws std::invalid_argument on a bad name; std::system_error with errc::not_trusted,
/// errc::layout_mismatch or the system's code.
Mapping open_segment_if_present(std::string_view name, const ObjectType& type);

/// As open_segment_if_present(); that there is none is an error, std::errc::no_such_file_or_directory.
Mapping open_segment(std::string_view name, const ObjectType& type);

/// Takes the name away; who has the segment open keeps it. Returns false when there was none.
bool remove_segment(std::string_view name);

[[noreturn]] void segment_exists(std::string_view name);

/// Makes a segment whose object `construct` makes at the address that it is given. Nothing when the name is
/// taken.
template <class Construct>
Mapping create_segment_unless_present(std::string_view name, const ObjectType& type, Construct construct) {
  SegmentDraft draft(name, type);
  construct(draft.object());
  return draft.publish() ? draft.take() : Mapping();
}

/// As create_segment_unless_present(); that the name is taken is an error, std::errc::file_exists.
template <class Construct>
Mapping create_segment(std::string_view name, const ObjectType& type, Construct construct) {
  Mapping made = create_segment_unless_present(name, type, construct);
  if (!made) segment_exists(name);
  return made;
}

/// Opens the segment, or creates it when there is none. `construct` may be called more than once: another
/// creator may be faster and then remove its segment.
template <class Construct>
Mapping open_or_create_segment(std::string_view name, const ObjectType& type, Construct construct) {
  for (;;) {
    if (Mapping found = open_segment_if_present(name, type)) return found;
    if (Mapping made = create_segment_unless_present(name, type, construct)) return made;
  }
}

}  // namespace heirlock::detail
#endif
