// The C interface: each call is one of ReentrantLock or of a segment, its exceptions made outcomes.
#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <new>
#include <stdexcept>
#include <system_error>
#include <type_traits>

#include "errno_kept.hpp"
#include "heirlock/detail/segment.hpp"
#include "heirlock/error.hpp"
#include "heirlock/heirlock.h"
#include "heirlock/reentrant_lock.hpp"

namespace heirlock {
namespace {

static_assert(sizeof(heirlock_lock) == sizeof(ReentrantLock) &&
              alignof(heirlock_lock) == alignof(ReentrantLock));
static_assert(std::is_standard_layout_v<heirlock_lock> && std::is_trivial_v<heirlock_lock>);
static_assert(heirlock_not_acquired == static_cast<int>(AcquireResult::not_acquired) &&
              heirlock_acquired == static_cast<int>(AcquireResult::acquired) &&
              heirlock_reentered == static_cast<int>(AcquireResult::reentered) &&
              heirlock_inherited == static_cast<int>(AcquireResult::inherited));

// --- Errors ---

// Of the thread's last call that was refused.
struct LastError {
  std::int32_t system = 0;
  char message[512] = "";
};
thread_local LastError last_error;

heirlock_outcome refused(heirlock_outcome outcome, const char* message, int system = 0) noexcept {
  last_error.system = system;
  std::snprintf(last_error.message, sizeof last_error.message, "%s", message);
  return outcome;
}

heirlock_outcome outcome_of(errc code) noexcept {
  switch (code) {
    case errc::recursion_too_deep:
      return heirlock_recursion_too_deep;
    case errc::foreign_pid_namespace:
      return heirlock_foreign_pid_namespace;
    case errc::unsupported_platform:
      return heirlock_unsupported_platform;
    case errc::layout_mismatch:
      return heirlock_layout_mismatch;
    case errc::not_trusted:
      return heirlock_not_trusted;
  }
  return heirlock_system_error;  // GCOVR_EXCL_LINE: every errc has returned
}

heirlock_outcome outcome_of_system(int error) noexcept {
  switch (error) {
    case EEXIST:
      return heirlock_file_exists;
    case ENOENT:
      return heirlock_file_missing;
    case ENOMEM:
      return heirlock_no_memory;
    default:
      return heirlock_system_error;
  }
}

// What is being thrown, as an outcome. Nothing else is ever thrown.
HEIRLOCK_NOINLINE heirlock_outcome outcome_of_exception() noexcept {
  const detail::ErrnoKept errno_kept;
  try {
    throw;
  } catch (const AssertionError& error) {
    return refused(heirlock_not_owner, error.what());
  } catch (const std::invalid_argument& error) {
    return refused(heirlock_invalid_name, error.what());
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    if (error.code().category() == error_category())
      return refused(outcome_of(static_cast<errc>(code)), error.what());
    return refused(outcome_of_system(code), error.what(), code);
  } catch (const std::bad_alloc&) {
    return refused(heirlock_no_memory, "heirlock: found no memory, expected some; free what is not needed",
                   ENOMEM);
  }
}

HEIRLOCK_NOINLINE heirlock_outcome invalid_argument(const char* message) noexcept {
  const detail::ErrnoKept errno_kept;
  return refused(heirlock_invalid_argument, message);
}

// --- The lock ---

const ReentrantLock& lock_at(const heirlock_lock* lock) noexcept {
  return *std::launder(reinterpret_cast<const ReentrantLock*>(lock));
}

bool is_place_of_lock(const heirlock_lock* lock) noexcept {
  return lock != nullptr && reinterpret_cast<std::uintptr_t>(lock) % alignof(ReentrantLock) == 0;
}

HEIRLOCK_NOINLINE heirlock_outcome no_place_of_lock(const heirlock_lock* lock) noexcept {
  char message[128];
  std::snprintf(
      message, sizeof message,
      "heirlock: found a lock at address %#jx, expected a multiple of 8 other than 0; give 40 bytes "
      "aligned to 8",
      static_cast<std::uintmax_t>(reinterpret_cast<std::uintptr_t>(lock)));
  return invalid_argument(message);
}

// Does `operation` to the lock. It returns an AcquireResult, or nothing.
template <class Operation>
heirlock_outcome on(heirlock_lock* lock, Operation operation) noexcept {
  if (HEIRLOCK_UNLIKELY(!is_place_of_lock(lock))) return no_place_of_lock(lock);
  auto& object = const_cast<ReentrantLock&>(lock_at(lock));
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Operation, ReentrantLock&>>) {
      std::invoke(operation, object);
      return heirlock_done;
    } else {
      return static_cast<heirlock_outcome>(std::invoke(operation, object));
    }
  } catch (...) {
    return outcome_of_exception();
  }
}

// --- Named segments ---

// No exception may pass a C caller, and a cancellation is one.
class CancellationPutOff {
 public:
  CancellationPutOff() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  CancellationPutOff(const CancellationPutOff&) = delete;
  CancellationPutOff& operator=(const CancellationPutOff&) = delete;
  ~CancellationPutOff() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

template <class Operation>
heirlock_outcome on_files(Operation operation) noexcept {
  const detail::ErrnoKept errno_kept;
  const CancellationPutOff cancellation_put_off;
  try {
    return operation();
  } catch (...) {
    return outcome_of_exception();
  }
}

// What is wrong with the arguments of a call that makes a segment's handle; null if nothing is.
const char* fault_of(const heirlock_segment* segment, const detail::ObjectType& type) noexcept {
  constexpr std::uint64_t page = 4096;
  if (segment == nullptr)
    return "heirlock: found a null pointer for the segment, expected one to a heirlock_segment; give its "
           "address";
  if (type.name == nullptr)
    return "heirlock: found a null pointer for the type, expected its name; give a text that names it";
  if (type.size == 0 || type.size > static_cast<std::uint64_t>(INT64_MAX) - page)
    return "heirlock: found a size that no object has, expected at least 1 byte and less than 2^63; give "
           "sizeof the object";
  if (type.alignment == 0 || type.alignment > page || (type.alignment & (type.alignment - 1)) != 0)
    return "heirlock: found an alignment that is not to be had, expected a power of two up to 4096; "
           "give that of the object";
  return nullptr;
}

/// Fills the handle with the mapping that `make` returns for the name and the type.
template <class Make>
heirlock_outcome make_handle(heirlock_segment* segment, const char* name, std::uint64_t size,
                             std::uint64_t alignment, const char* type_name, Make make) noexcept {
  if (segment != nullptr) *segment = heirlock_segment{};
  const std::uint64_t fingerprint = type_name == nullptr ? 0 : detail::fingerprint_of(type_name);
  const detail::ObjectType type{size, alignment, fingerprint, type_name};
  if (const char* const fault = fault_of(segment, type)) return invalid_argument(fault);
  return on_files([&] {
    detail::Mapping mapping = make(name == nullptr ? "" : name, type);
    const std::uint64_t offset = detail::object_offset(type);
    *segment = heirlock_segment{mapping.at(offset), mapping.at(0), offset + size};
    mapping.keep();  // until heirlock_segment_close()
    return heirlock_done;
  });
}

void leave_zeros(void*) noexcept {}

detail::Mapping create(const char* name, const detail::ObjectType& type) {
  return detail::create_segment(name, type, leave_zeros);
}

detail::Mapping open_or_create(const char* name, const detail::ObjectType& type) {
  return detail::open_or_create_segment(name, type, leave_zeros);
}

}  // namespace
}  // namespace heirlock

// --- The interface ---

using heirlock::ReentrantLock;

heirlock_outcome heirlock_init(heirlock_lock* lock) {
  if (!heirlock::is_place_of_lock(lock)) return heirlock::no_place_of_lock(lock);
  ::new (lock) ReentrantLock();
  return heirlock_done;
}

heirlock_outcome heirlock_acquire(heirlock_lock* lock) {
  return heirlock::on(lock, &ReentrantLock::acquire);
}

heirlock_outcome heirlock_try_acquire(heirlock_lock* lock) {
  return heirlock::on(lock, &ReentrantLock::try_acquire);
}

heirlock_outcome heirlock_acquire_for(heirlock_lock* lock, int64_t nanoseconds) {
  return heirlock::on(
      lock, [&](ReentrantLock& object) { return object.acquire_for(std::chrono::nanoseconds(nanoseconds)); });
}

heirlock_outcome heirlock_acquire_until(heirlock_lock* lock, int64_t nanoseconds) {
  using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
  const Clock::time_point deadline{std::chrono::nanoseconds(nanoseconds)};
  return heirlock::on(lock, [&](ReentrantLock& object) { return object.acquire_until(deadline); });
}

heirlock_outcome heirlock_release(heirlock_lock* lock) {
  return heirlock::on(lock, &ReentrantLock::release);
}

heirlock_outcome heirlock_repaired(heirlock_lock* lock) {
  return heirlock::on(lock, &ReentrantLock::repaired);
}

int32_t heirlock_owner(const heirlock_lock* lock) {
  return heirlock::lock_at(lock).owner();
}

uint32_t heirlock_depth(const heirlock_lock* lock) {
  return heirlock::lock_at(lock).depth();
}

int32_t heirlock_needs_repair(const heirlock_lock* lock) {
  return heirlock::lock_at(lock).needs_repair() ? 1 : 0;
}

heirlock_outcome heirlock_segment_create(heirlock_segment* segment, const char* name, uint64_t size,
                                         uint64_t alignment, const char* type) {
  return heirlock::make_handle(segment, name, size, alignment, type, heirlock::create);
}

heirlock_outcome heirlock_segment_open(heirlock_segment* segment, const char* name, uint64_t size,
                                       uint64_t alignment, const char* type) {
  return heirlock::make_handle(segment, name, size, alignment, type, heirlock::detail::open_segment);
}

heirlock_outcome heirlock_segment_open_or_create(heirlock_segment* segment, const char* name, uint64_t size,
                                                 uint64_t alignment, const char* type) {
  return heirlock::make_handle(segment, name, size, alignment, type, heirlock::open_or_create);
}

heirlock_outcome heirlock_segment_close(heirlock_segment* segment) {
  if (segment == nullptr)
    return heirlock::invalid_argument(
        "heirlock: found a null pointer for the segment, expected one to a heirlock_segment; give its "
        "address");
  const heirlock::detail::ErrnoKept errno_kept;
  const heirlock::detail::Mapping ended(segment->mapping, segment->mapping_size);
  *segment = heirlock_segment{};
  return heirlock_done;
}

heirlock_outcome heirlock_segment_remove(const char* name) {
  return heirlock::on_files([&] {
    if (heirlock::detail::remove_segment(name == nullptr ? "" : name)) return heirlock_done;
    return heirlock::refused(
        heirlock_file_missing,
        "heirlock: found no segment of this name to remove, expected one; it may have been "
        "removed already",
        ENOENT);
  });
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

const char* heirlock_last_message(void) {
  return heirlock::last_error.message;
}

int32_t heirlock_last_errno(void) {
  return heirlock::last_error.system;
}

const char* heirlock_version(void) {
  return HEIRLOCK_VERSION;
}
