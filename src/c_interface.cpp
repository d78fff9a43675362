// The C interface: each call forwards to the algorithm or to a segment and returns the outcome.
// Each copy of the library hides its functions from other copies, unless it is a shared library.
#if !defined(HEIRLOCK_API) && defined(HEIRLOCK_EXPORTS)
#define HEIRLOCK_API __attribute__((visibility("default")))
#elif !defined(HEIRLOCK_API)
#define HEIRLOCK_API __attribute__((visibility("hidden")))
#endif

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "heirlock/detail/deadline.hpp"
#include "heirlock/detail/segment.hpp"
#include "heirlock/heirlock.h"
#include "last_error.hpp"

namespace heirlock::detail_v0_1 {
namespace {

using Algorithm = LockAlgorithm<LinuxPlatform>;

static_assert(sizeof(heirlock_lock) == sizeof(LinuxLock));
static_assert(alignof(heirlock_lock) == alignof(LinuxLock));
static_assert(std::is_standard_layout_v<heirlock_lock> && std::is_trivial_v<heirlock_lock>);
static_assert(HEIRLOCK_LAYOUT_VERSION == SegmentHeader::current_version);

// Whether the thread's last acquire without success was a timed one.
thread_local bool has_timed_out HEIRLOCK_STATIC_TLS = false;

LinuxLock* lock_at(const heirlock_lock* lock) noexcept {
  return reinterpret_cast<LinuxLock*>(const_cast<heirlock_lock*>(lock));
}

// Runs `operation` on the lock. `call` is its name for messages.
template <class Operation>
heirlock_outcome on(heirlock_lock* lock, const char* call, Operation operation,
                    bool is_timed = false) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(lock);
  if (HEIRLOCK_UNLIKELY(address == 0 || address % alignof(LinuxLock) != 0))
    return refused(heirlock_invalid_argument, 0,
                   "no lock can be at address %p; give the address of 40 bytes, aligned to 8",
                   static_cast<void*>(lock));
  const Outcome outcome = operation(*lock_at(lock));
  if (HEIRLOCK_UNLIKELY(is_refused(outcome))) explained(outcome, *lock_at(lock), call);
  if (outcome == heirlock_not_acquired) has_timed_out = is_timed;
  return outcome;
}

heirlock_outcome acquire_by(heirlock_lock* lock, LinuxPlatform::Deadline deadline,
                            bool is_timed = false) noexcept {
  return on(
      lock, "acquire", [=](LinuxLock& memory) { return Algorithm::acquire(memory, deadline); }, is_timed);
}

// A success keeps the last error. A refusal by the system gets the system's text appended to its message.
template <class Operation>
heirlock_outcome on_files(Operation operation) noexcept {
  const ErrnoKept errno_kept;
  const LastError before = last_error;
  const Outcome outcome = operation();
  if (!is_refused(outcome)) {
    last_error = before;
  } else if (last_error.system != 0) {
    const std::size_t length = std::strlen(last_error.message);
    std::snprintf(last_error.message + length, sizeof last_error.message - length, ": %s",
                  std::strerror(last_error.system));
  }
  return outcome;
}

/// Fills the handle with the mapping that `make` makes for the name and the type.
template <class Make>
heirlock_outcome make_handle(heirlock_segment* segment, const char* name, std::uint64_t size,
                             std::uint64_t alignment, const char* type_name, Make make) noexcept {
  if (segment != nullptr) *segment = heirlock_segment{};
  constexpr std::uint64_t page = 4096;
  const bool has_size = size != 0 && size <= static_cast<std::uint64_t>(INT64_MAX) - page;
  const bool has_alignment = alignment != 0 && alignment <= page && (alignment & (alignment - 1)) == 0;
  return on_files([&] {
    if (segment == nullptr || type_name == nullptr || !has_size || !has_alignment)
      return refused(heirlock_invalid_argument, 0,
                     "no segment can be made with segment %p, type '%s', size %" PRIu64 ", alignment %" PRIu64
                     "; give two addresses, 1 to 2^63 bytes, and a power of two up to 4096",
                     static_cast<void*>(segment), type_name == nullptr ? "" : type_name, size, alignment);
    const ObjectType type{size, alignment, type_name};
    Mapping mapping;
    const Outcome outcome = make(name == nullptr ? "" : name, type, mapping);
    if (is_refused(outcome)) return outcome;
    const std::uint64_t offset = object_offset(type);
    *segment = heirlock_segment{mapping.at(offset), mapping.at(0), offset + size};
    mapping.leave();  // to heirlock_segment_close()
    return outcome;
  });
}

struct Meaning {
  int32_t outcome, error;
  const char* text;
};
constexpr Meaning meanings[] = {
    {heirlock_not_acquired, EBUSY, "the lock is busy"},
    {heirlock_acquired, 0, "the caller owns the lock"},
    {heirlock_reentered, 0, "the caller owned the lock already, now one level deeper"},
    {heirlock_inherited, EOWNERDEAD, "an owner died: repair the data, then declare the lock repaired"},
    {heirlock_done, 0, "done"},
    {heirlock_not_owner, EPERM, "the calling thread does not own the lock"},
    {heirlock_recursion_too_deep, EDEADLK,
     "the caller holds the lock 2^32-1 times already; release it first"},
    {heirlock_foreign_pid_namespace, EXDEV,
     "the lock belongs to another PID namespace, or the memory is not a lock"},
    {heirlock_unsupported_platform, ENOSYS, "this system lacks something the lock needs"},
    {heirlock_layout_mismatch, EPROTO, "the segment holds another type, size or layout version"},
    {heirlock_not_trusted, EACCES, "another user owns the segment or may write to it"},
    {heirlock_invalid_name, EINVAL, "the name is not 1 to 200 letters, digits, '.', '-' and '_'"},
    {heirlock_invalid_argument, EINVAL,
     "a null pointer, a misaligned lock, or an impossible size or alignment"},
    {heirlock_file_exists, EEXIST, "a segment of this name exists already"},
    {heirlock_file_missing, ENOENT, "there is no segment of this name, or no /dev/shm"},
    {heirlock_no_memory, ENOMEM, "out of memory"},
    {heirlock_interrupted, EINTR, "a signal handler ran during the wait; call again to go on waiting"},
    {heirlock_system_error, 0, "the system refused the call; heirlock_last_errno() tells why"},
};

const Meaning* meaning_of(int32_t outcome) noexcept {
  for (const Meaning& meaning : meanings)
    if (meaning.outcome == outcome) return &meaning;
  return nullptr;
}

constexpr auto leave_zeros = [](void*) {};

}  // namespace
}  // namespace heirlock::detail_v0_1

// --- The interface ---

using namespace heirlock::detail;

heirlock_outcome heirlock_init(heirlock_lock* lock) {
  return on(lock, "init", [](LinuxLock& memory) { return ::new (&memory) LinuxLock(), heirlock_done; });
}

heirlock_outcome heirlock_acquire(heirlock_lock* lock) {
  return acquire_by(lock, LinuxPlatform::for_ever);
}

heirlock_outcome heirlock_try_acquire(heirlock_lock* lock) {
  return acquire_by(lock, LinuxPlatform::no_wait);
}

heirlock_outcome heirlock_acquire_for(heirlock_lock* lock, int64_t nanoseconds) {
  const auto acquire = [=](LinuxLock& memory) { return acquire_for(memory, nanoseconds); };
  return on(lock, "acquire", acquire, true);
}

heirlock_outcome heirlock_acquire_until(heirlock_lock* lock, int64_t nanoseconds) {
  return acquire_by(lock, nanoseconds, true);
}

heirlock_outcome heirlock_acquire_interruptible(heirlock_lock* lock, int64_t nanoseconds) {
  const auto acquire = [=](LinuxLock& memory) { return acquire_interruptible(memory, nanoseconds); };
  return on(lock, "acquire", acquire, true);
}

heirlock_outcome heirlock_release(heirlock_lock* lock) {
  return on(lock, "release", Algorithm::release);
}

heirlock_outcome heirlock_repaired(heirlock_lock* lock) {
  return on(lock, "repaired", Algorithm::repaired);
}

int32_t heirlock_owner(const heirlock_lock* lock) {
  return static_cast<int32_t>(owner_of(lock_at(lock)->word.load(Order::relaxed)));
}

uint32_t heirlock_depth(const heirlock_lock* lock) {
  return Algorithm::is_owned(*lock_at(lock)) ? lock_at(lock)->depth.load() : 0;
}

int32_t heirlock_needs_repair(const heirlock_lock* lock) {
  return (lock_at(lock)->word.load(Order::relaxed) & owner_died_bit) != 0 ? 1 : 0;
}

heirlock_outcome heirlock_segment_create(heirlock_segment* segment, const char* name, uint64_t size,
                                         uint64_t alignment, const char* type) {
  return make_handle(segment, name, size, alignment, type, [](auto name_, auto& type_, auto& mapping) {
    return create_segment(name_, type_, mapping, leave_zeros);
  });
}

heirlock_outcome heirlock_segment_open(heirlock_segment* segment, const char* name, uint64_t size,
                                       uint64_t alignment, const char* type) {
  return make_handle(segment, name, size, alignment, type, open_segment);
}

heirlock_outcome heirlock_segment_open_or_create(heirlock_segment* segment, const char* name, uint64_t size,
                                                 uint64_t alignment, const char* type) {
  return make_handle(segment, name, size, alignment, type, [](auto name_, auto& type_, auto& mapping) {
    return open_or_create_segment(name_, type_, mapping, leave_zeros);
  });
}

heirlock_outcome heirlock_segment_close(heirlock_segment* segment) {
  return on_files([=] {
    if (segment == nullptr)
      return refused(heirlock_invalid_argument, 0, "the segment to close is null; give the address of one");
    Mapping mapping(segment->mapping, segment->mapping_size, true);
    const Outcome outcome = mapping.end();
    mapping.leave();
    if (!is_refused(outcome)) *segment = heirlock_segment{};
    return outcome;
  });
}

heirlock_outcome heirlock_segment_remove(const char* name) {
  return on_files([=] { return remove_segment(name == nullptr ? "" : name); });
}

int32_t heirlock_segment_is_named(const heirlock_segment* segment) {
  bool is_named = false;
  on_files([&] {
    Mapping mapping(segment->mapping, segment->mapping_size, true);
    is_named = mapping.is_named();
    mapping.leave();
    return heirlock_done;
  });
  return is_named ? 1 : 0;
}

const char* heirlock_text(int32_t outcome) {
  const Meaning* const meaning = meaning_of(outcome);
  return meaning != nullptr ? meaning->text : "unknown outcome";
}

int32_t heirlock_errno(int32_t outcome) {
  if (outcome == heirlock_not_acquired && has_timed_out) return ETIMEDOUT;
  if (outcome == heirlock_system_error) return last_error.system;
  const Meaning* const meaning = meaning_of(outcome);
  return meaning != nullptr ? meaning->error : EINVAL;
}

const char* heirlock_last_message(void) {
  return last_error.message;
}

int32_t heirlock_last_errno(void) {
  return last_error.system;
}

const char* heirlock_version(void) {
  return HEIRLOCK_VERSION;
}
