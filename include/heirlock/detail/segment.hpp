// Shared memory: anonymous mappings, and named segments in /dev/shm.
#ifndef HEIRLOCK_DETAIL_SEGMENT_HPP
#define HEIRLOCK_DETAIL_SEGMENT_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock::detail_v0_1 {

/// A handle of shared memory: an anonymous mapping or a named segment. A process maps a segment once for all
/// its handles, so that a lock acquired through one handle can be released through another.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(void* memory, std::size_t size, bool is_segment) noexcept
      : memory_(memory), size_(size), is_segment_(is_segment) {}
  Mapping(Mapping&& other) noexcept { *this = std::move(other); }
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    std::swap(is_segment_, other.is_segment_);
    return *this;
  }
  ~Mapping() { static_cast<void>(end()); }

  void* at(std::size_t offset) const noexcept { return static_cast<char*>(memory_) + offset; }
  /// Closes the handle. The last handle in the process frees the locks in the memory that the calling thread
  /// holds, with OWNER_DIED set, and unmaps the memory. It stays mapped if a handle was in static storage, as
  /// threads may outlive main(), or if another thread of the process holds the `lock` given for any handle.
  /// Refused as hold_process() is.
  Outcome end(LinuxLock* lock = nullptr) noexcept;
  /// Whether the name still leads to this segment. False if the system does not tell.
  bool is_named() const noexcept;
  /// Forgets the memory without closing it: another handle will.
  void leave() noexcept { memory_ = nullptr; }

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
  bool is_segment_ = false;
};

/// Maps zeroed memory that later forked children share. Refused: the system's error.
Outcome map_anonymous(std::size_t size, Mapping& made) noexcept;

/// The type of a segment's object, as its header records it.
struct ObjectType {
  std::uint64_t size;
  std::uint64_t alignment;  // at most a page
  std::string_view name;    // mangled by the Itanium C++ ABI, as all compilers on Linux do
};

/// Visits each character of the type's name as it is recorded: without heirlock's versioned namespace, so
/// that all versions record the same. A mangled name has that namespace once at most.
template <class Visit>
constexpr void for_each_recorded(std::string_view mangled_name, Visit visit) noexcept {
  constexpr std::string_view parent = "8heirlock", version = "4v0_1";
  const std::size_t found = mangled_name.find("8heirlock4v0_1");
  const std::size_t left_out = found == mangled_name.npos ? found : found + parent.size();
  for (std::size_t i = 0; i < mangled_name.size(); ++i)
    if (i < left_out || i >= left_out + version.size()) visit(mangled_name.data()[i]);
}

/// FNV-1a, 64 bits.
constexpr std::uint64_t fingerprint_of(std::string_view mangled_name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;
  for_each_recorded(mangled_name, [&hash](char character) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x00000100000001b3;
  });
  return hash;
}

// The first 256 bytes of a named segment; section 8 of SPECIFICATION.md.
struct SegmentHeader {
  static constexpr std::uint32_t current_version = 1;

  char magic[8];
  std::uint32_t version;
  std::uint32_t object_offset;
  std::uint64_t object_size;
  std::uint64_t object_alignment;
  std::uint64_t fingerprint;
  std::uint64_t file_size;
  char type_name[208];  // for messages only: cut at 207 characters
};
static_assert(sizeof(SegmentHeader) == 256);

/// The character to print for one of an untrusted text.
constexpr char printable(char c) noexcept {
  return c >= ' ' && c <= '~' ? c : '?';
}

/// Writes the printable name of the type in `header` to `shown`, cut to `room` bytes. Demangled if the
/// library is built with RTTI.
void show_type(const SegmentHeader& header, char* shown, std::size_t room) noexcept;

constexpr std::size_t object_offset(const ObjectType& type) noexcept {
  return type.alignment > sizeof(SegmentHeader) ? type.alignment : sizeof(SegmentHeader);
}

// A segment's path is the directory, the prefix and the name.
inline constexpr char segment_directory[] = "/dev/shm/";
inline constexpr char segment_prefix[] = "heirlock.";

/// Whether this is the header of a named segment, of any layout version.
inline bool has_magic(const SegmentHeader& header) noexcept {
  return std::string_view(header.magic, sizeof header.magic) == "heirlock";
}

struct FileDescriptor {
  int number = -1;
  ~FileDescriptor();
};

/// A segment under construction, in a file without a name: the system removes it if its creator dies or
/// throws.
class SegmentDraft {
 public:
  /// Refused: invalid_name, file_missing without a /dev/shm, or the system's error (such as no space left).
  Outcome begin(std::string_view name, const ObjectType& type) noexcept;
  void* object(const ObjectType& type) const noexcept { return mapping_.at(object_offset(type)); }
  /// Gives the finished segment its name. Refused: file_exists, or the system's error.
  Outcome publish(Mapping& made) noexcept;

 private:
  char path_[224];
  FileDescriptor file_;
  Mapping mapping_;
};

/// Maps an existing segment, after checking that it is trusted and holds a `type`.
/// Refused: invalid_name, file_missing, not_trusted, layout_mismatch, or the system's error.
Outcome open_segment(std::string_view name, const ObjectType& type, Mapping& opened) noexcept;

/// Removes the name. Processes that have the segment open keep it. Refused: invalid_name, file_missing, or
/// the system's error.
Outcome remove_segment(std::string_view name) noexcept;

/// Creates a segment. `construct` makes the object at the address it is given.
template <class Construct>
Outcome create_segment(std::string_view name, const ObjectType& type, Mapping& made, Construct construct) {
  SegmentDraft draft;
  if (const Outcome outcome = draft.begin(name, type); is_refused(outcome)) return outcome;
  construct(draft.object(type));
  return draft.publish(made);
}

/// Opens the segment, or creates it if there is none. May call `construct` more than once.
template <class Construct>
Outcome open_or_create_segment(std::string_view name, const ObjectType& type, Mapping& mapping,
                               Construct construct) {
  for (;;) {
    Outcome outcome = open_segment(name, type, mapping);
    if (outcome != heirlock_file_missing) return outcome;
    outcome = create_segment(name, type, mapping, construct);
    if (outcome != heirlock_file_exists) return outcome;
  }
}

}  // namespace heirlock::detail_v0_1
#endif
