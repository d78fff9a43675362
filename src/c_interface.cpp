// The C interface: each call is one of the algorithm or of a segment, and returns what that came to.
//
// Each copy of the library in a process is used by those who were linked with it, and hides its functions
// from the others, unless it is a shared library.
#ifndef HEIRLOCK_API
#ifdef HEIRLOCK_EXPORTS
#define HEIRLOCK_API __attribute__((visibility("default")))
#else
#define HEIRLOCK_API __attribute__((visibility("hidden")))
#endif
#endif

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "heirlock/detail/deadline.hpp"
#include "heirlock/detail/segment.hpp"
#include "heirlock/heirlock.h"
#include "last_error.hpp"

namespace heirlock {
inline namespace v0_1 {
namespace detail {
namespace {

using Algorithm = LockAlgorithm<LinuxPlatform>;

static_assert(sizeof(heirlock_lock) == sizeof(LinuxLock) && alignof(heirlock_lock) == alignof(LinuxLock));
static_assert(std::is_standard_layout_v<heirlock_lock> && std::is_trivial_v<heirlock_lock>);
static_assert(HEIRLOCK_LAYOUT_VERSION == SegmentHeader::current_version);
static_assert(heirlock_not_acquired == static_cast<int>(Outcome::not_acquired) &&
              heirlock_inherited == static_cast<int>(Outcome::inherited) &&
              heirlock_done == static_cast<int>(Outcome::done) &&
              heirlock_not_owner == static_cast<int>(Outcome::not_owner) &&
              heirlock_recursion_too_deep == static_cast<int>(Outcome::recursion_too_deep) &&
              heirlock_foreign_pid_namespace == static_cast<int>(Outcome::foreign_pid_namespace) &&
              heirlock_unsupported_platform == static_cast<int>(Outcome::unsupported_platform) &&
              heirlock_layout_mismatch == static_cast<int>(Outcome::layout_mismatch) &&
              heirlock_not_trusted == static_cast<int>(Outcome::not_trusted) &&
              heirlock_invalid_name == static_cast<int>(Outcome::invalid_name) &&
              heirlock_invalid_argument == static_cast<int>(Outcome::invalid_argument) &&
              heirlock_file_exists == static_cast<int>(Outcome::file_exists) &&
              heirlock_file_missing == static_cast<int>(Outcome::file_missing) &&
              heirlock_no_memory == static_cast<int>(Outcome::no_memory) &&
              heirlock_system_error == static_cast<int>(Outcome::system_error));

// Whether the thread's last acquire in vain was a timed one.
thread_local bool has_timed_out HEIRLOCK_STATIC_TLS = false;

LinuxLock* lock_at(const heirlock_lock* lock) noexcept {
  return reinterpret_cast<LinuxLock*>(const_cast<heirlock_lock*>(lock));
}

// Does `operation`, named `call`, to the lock. A timed one that comes to nothing has timed out.
template <class Operation>
heirlock_outcome on(heirlock_lock* lock, const char* call, Operation operation,
                    bool is_timed = false) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(lock);
  if (HEIRLOCK_UNLIKELY(address == 0 || address % alignof(LinuxLock) != 0))
    return static_cast<heirlock_outcome>(refused(
        Outcome::invalid_argument, 0,
        "found a lock at address %#jx, expected a multiple of 8 other than 0; give 40 bytes aligned to 8",
        static_cast<std::uintmax_t>(address)));
  const Outcome outcome = operation(*lock_at(lock));
  if (HEIRLOCK_UNLIKELY(is_refused(outcome))) explained(outcome, *lock_at(lock), call);
  if (outcome == Outcome::not_acquired) has_timed_out = is_timed;
  return static_cast<heirlock_outcome>(outcome);
}

// Does `operation`, which ends in a cancellation point's call: no cancellation may pass a C caller. What the
// system refused is said in its words as well.
template <class Operation>
heirlock_outcome on_files(Operation operation) noexcept {
  const ErrnoKept errno_kept;
  int before = PTHREAD_CANCEL_ENABLE;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  const Outcome outcome = operation();
  pthread_setcancelstate(before, nullptr);
  if (is_refused(outcome) && last_error.system != 0) {
    const std::size_t length = std::strlen(last_error.message);
    std::snprintf(last_error.message + length, sizeof last_error.message - length, ": %s",
                  std::strerror(last_error.system));
  }
  return static_cast<heirlock_outcome>(outcome);
}

constexpr char no_segment[] =
    "found a null pointer for the segment, expected one to a heirlock_segment; give its address";

// What is wrong with the arguments of a call that makes a segment's handle; null if nothing is.
const char* fault_of(const heirlock_segment* segment, const ObjectType& type) noexcept {
  constexpr std::uint64_t page = 4096;
  if (segment == nullptr) return no_segment;
  if (type.name == nullptr)
    return "found a null pointer for the type, expected its name; give a text that names it";
  if (type.size == 0 || type.size > static_cast<std::uint64_t>(INT64_MAX) - page)
    return "found a size that no object has, expected at least 1 byte and less than 2^63; give sizeof the "
           "object";
  if (type.alignment == 0 || type.alignment > page || (type.alignment & (type.alignment - 1)) != 0)
    return "found an alignment that is not to be had, expected a power of two up to 4096; give that of the "
           "object";
  return nullptr;
}

/// Fills the handle with the mapping that `make` makes for the name and the type.
template <class Make>
heirlock_outcome make_handle(heirlock_segment* segment, const char* name, std::uint64_t size,
                             std::uint64_t alignment, const char* type_name, Make make) noexcept {
  if (segment != nullptr) *segment = heirlock_segment{};
  const ObjectType type{size, alignment, type_name == nullptr ? 0 : fingerprint_of(type_name), type_name};
  return on_files([&] {
    if (const char* const fault = fault_of(segment, type))
      return refused(Outcome::invalid_argument, 0, "%s", fault);
    Mapping mapping;
    const Outcome outcome = make(name == nullptr ? "" : name, type, mapping);
    if (is_refused(outcome)) return outcome;
    const std::uint64_t offset = object_offset(type);
    *segment = heirlock_segment{mapping.at(offset), mapping.at(0), offset + size};
    mapping.leave();  // to heirlock_segment_close()
    return outcome;
  });
}

constexpr auto leave_zeros = [](void*) {};

}  // namespace
}  // namespace detail
}  // namespace v0_1
}  // namespace heirlock

// --- The interface ---

using namespace heirlock::detail;

heirlock_outcome heirlock_init(heirlock_lock* lock) {
  return on(lock, "init", [](LinuxLock& memory) { return ::new (&memory) LinuxLock(), Outcome::done; });
}

heirlock_outcome heirlock_acquire(heirlock_lock* lock) {
  return on(lock, "acquire",
            [](LinuxLock& memory) { return Algorithm::acquire(memory, LinuxPlatform::for_ever); });
}

heirlock_outcome heirlock_try_acquire(heirlock_lock* lock) {
  return on(lock, "acquire",
            [](LinuxLock& memory) { return Algorithm::acquire(memory, LinuxPlatform::no_wait); });
}

heirlock_outcome heirlock_acquire_for(heirlock_lock* lock, int64_t nanoseconds) {
  return on(
      lock, "acquire", [=](LinuxLock& memory) { return acquire_for(memory, nanoseconds); }, true);
}

heirlock_outcome heirlock_acquire_until(heirlock_lock* lock, int64_t nanoseconds) {
  return on(
      lock, "acquire",
      [=](LinuxLock& memory) {
        return Algorithm::acquire(memory, std::max(nanoseconds, LinuxPlatform::no_wait));
      },
      true);
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
    if (segment == nullptr) return refused(Outcome::invalid_argument, 0, "%s", no_segment);
    Mapping(segment->mapping, segment->mapping_size, true).end();
    *segment = heirlock_segment{};
    return Outcome::done;
  });
}

heirlock_outcome heirlock_segment_remove(const char* name) {
  return on_files([=] { return remove_segment(name == nullptr ? "" : name); });
}

const char* heirlock_text(int32_t outcome) {
  switch (outcome) {
    case heirlock_not_acquired:
      return "the lock is another's";
    case heirlock_acquired:
      return "the lock was free and is yours";
    case heirlock_reentered:
      return "the lock was yours already, and is so once more";
    case heirlock_inherited:
      return "the lock is yours after the death of an owner; mend what it guards, then declare it repaired";
    case heirlock_done:
      return "done";
    case heirlock_not_owner:
      return "the calling thread does not own the lock";
    case heirlock_recursion_too_deep:
      return "the lock is held 2^32-1 times already; release it first";
    case heirlock_foreign_pid_namespace:
      return "the lock belongs to another PID namespace; use one lock per namespace";
    case heirlock_unsupported_platform:
      return "this system lacks what the lock is built on";
    case heirlock_layout_mismatch:
      return "the segment holds something else; use another name, or remove it";
    case heirlock_not_trusted:
      return "somebody else owns or may write the segment; use another name, or remove it";
    case heirlock_invalid_name:
      return "the name is not 1 to 200 letters, digits, '.', '-' and '_'";
    case heirlock_invalid_argument:
      return "a null pointer, a lock that is not aligned to 8, or a size or alignment that cannot be";
    case heirlock_file_exists:
      return "there is a segment of this name already";
    case heirlock_file_missing:
      return "there is no segment of this name, or no /dev/shm";
    case heirlock_no_memory:
      return "the system has no memory left";
    case heirlock_system_error:
      return "the system refused; heirlock_last_errno() tells why";
    default:
      return "unknown outcome";
  }
}

int32_t heirlock_errno(int32_t outcome) {
  switch (outcome) {
    case heirlock_not_acquired:
      return has_timed_out ? ETIMEDOUT : EBUSY;
    case heirlock_inherited:
      return EOWNERDEAD;
    case heirlock_not_owner:
      return EPERM;
    case heirlock_recursion_too_deep:
      return EDEADLK;
    case heirlock_foreign_pid_namespace:
      return EXDEV;
    case heirlock_unsupported_platform:
      return ENOSYS;
    case heirlock_layout_mismatch:
      return EPROTO;
    case heirlock_not_trusted:
      return EACCES;
    case heirlock_file_exists:
      return EEXIST;
    case heirlock_file_missing:
      return ENOENT;
    case heirlock_no_memory:
      return ENOMEM;
    case heirlock_system_error:
      return last_error.system;
    default:
      return outcome > 0 ? 0 : EINVAL;
  }
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
