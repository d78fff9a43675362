// The C interface of heirlock (C99, also for C++ and every language that can call C).
//
// A call returns its outcome. Above 0: the call succeeded. 0: the lock is busy. Below 0: the call was refused
// and changed nothing. No call throws, changes errno or is a cancellation point. Do not call any of them in a
// signal handler or in the child of vfork.
//
// Owner:   a thread. Two threads of one process are two owners.
// Death:   when the owner dies, for whatever reason, the next acquire returns heirlock_inherited. So does
//          every later acquire of the free lock, until a thread calls heirlock_repaired().
// fork:    the child owns no lock; the parent keeps its locks. The child may use the same locks.
// exec:    counts as a death: the new program owns no lock.
// Mapping: a lock may be mapped at several addresses, in one process or many. The address that was passed to
//          the first acquire must stay mapped until the last release.
// Destroy: not needed. The memory of a free lock may be unmapped or reused.
//
// These functions are in libheirlock_c.so, which is never unloaded, in libheirlock_c.a and in the C++
// library. A program or library that links an archive gets its own copy, hidden unless HEIRLOCK_API says
// otherwise. If a process loads several copies, a thread may release a lock through any copy in which it has
// acquired a lock before.
#ifndef HEIRLOCK_HEIRLOCK_H
#define HEIRLOCK_HEIRLOCK_H

#include <stdint.h>

#if !defined(__linux__) || !defined(__LP64__) || !defined(__GLIBC__)
#error "heirlock needs 64-bit Linux with glibc: it shares the robust list of both"
#endif

#ifndef HEIRLOCK_API
#define HEIRLOCK_API
#endif

// The compiler warns if the outcome is ignored: the lock may be busy, or inherited.
#define HEIRLOCK_CHECKED HEIRLOCK_API __attribute__((warn_unused_result))

/// The version of this header; heirlock_version() returns the library's.
#define HEIRLOCK_VERSION "0.1.0"

/// The version of the memory layout. Programs can share a lock if theirs is the same.
#define HEIRLOCK_LAYOUT_VERSION 1

/// The type of a segment that holds only a lock, as heirlock::Lockable(name) uses it.
#define HEIRLOCK_LOCK_TYPE "N8heirlock13ReentrantLockE"

#ifdef __cplusplus
extern "C" {
#endif

/// The result of a call. Languages without enums use an int.
typedef enum heirlock_outcome {
  heirlock_not_acquired = 0,  ///< the lock is busy, or the timeout has passed
  heirlock_acquired = 1,      ///< the caller owns the lock, at depth 1: one release frees it
  heirlock_reentered = 2,     ///< the caller owned the lock already, now one level deeper
  heirlock_inherited = 3,     ///< the caller owns the lock, at depth 1; an owner died, and the data may be
                              ///< half-written: repair the data, then call heirlock_repaired()
  heirlock_done = 4,          ///< success of a call that is not an acquire

  heirlock_not_owner = -1,              ///< the calling thread does not own the lock
  heirlock_recursion_too_deep = -2,     ///< the caller holds the lock 2^32-1 times already
  heirlock_foreign_pid_namespace = -3,  ///< the lock belongs to another PID namespace
  heirlock_unsupported_platform = -4,   ///< the kernel, libc or sandbox lacks something the lock needs
  heirlock_layout_mismatch = -5,        ///< the segment holds another type, size or layout version
  heirlock_not_trusted = -6,            ///< another user owns the segment or may write to it
  heirlock_invalid_name = -7,           ///< not 1 to 200 letters, digits, '.', '-' and '_'
  heirlock_invalid_argument = -8,       ///< a null pointer, a lock that is not aligned to 8, or an impossible
                                        ///< size or alignment
  heirlock_file_exists = -9,            ///< a segment of this name exists
  heirlock_file_missing = -10,          ///< there is no such segment, or no /dev/shm
  heirlock_no_memory = -11,             ///< out of memory or address space
  heirlock_system_error = -12,          ///< another error of the system; see heirlock_last_errno()
  heirlock_interrupted = -13            ///< a signal handler ran during the wait of an interruptible acquire
} heirlock_outcome;

/// A lock: 40 bytes, aligned to 8, in shared memory (`MAP_SHARED`), or in any memory if only the threads of
/// one process use it. All zero is a free lock, so zeroed memory needs no heirlock_init(). Do not copy a
/// lock. Do not unmap or reuse its memory while a thread holds the lock or waits for it.
typedef struct heirlock_lock {
  uint64_t opaque[5];
} heirlock_lock;

// --- The lock ---
//
// Errors of every call that takes a `heirlock_lock*` and returns an outcome: invalid_argument if the pointer
// is null or not aligned to 8. Errors of every acquire: recursion_too_deep, foreign_pid_namespace,
// unsupported_platform, and no_memory at the first use in a process. The calls that return no outcome have no
// errors; their pointer must point to a lock.

/// Makes the memory a free lock. No thread may hold the lock or wait for it. Returns done.
HEIRLOCK_API heirlock_outcome heirlock_init(heirlock_lock* lock);

/// Waits until the caller owns the lock. Returns acquired, reentered or inherited.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire(heirlock_lock* lock);

/// Acquires the lock if it need not wait. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_try_acquire(heirlock_lock* lock);

/// Waits for the lock for `nanoseconds` on CLOCK_MONOTONIC, and not less. Zero or less: tries once.
/// INT64_MAX: waits for ever. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_for(heirlock_lock* lock, int64_t nanoseconds);

/// Waits for the lock until CLOCK_MONOTONIC reads `nanoseconds`, and not less. A time in the past: tries
/// once. INT64_MAX: waits for ever. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_until(heirlock_lock* lock, int64_t nanoseconds);

/// As heirlock_acquire_until(), but returns interrupted when a signal handler runs in the calling thread
/// during the wait. (No signal ends the other acquires.) A handler that runs just before the thread sleeps
/// goes unnoticed: if it sets a flag that the caller checks, use a deadline as well.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_interruptible(heirlock_lock* lock, int64_t nanoseconds);

/// Undoes one acquire. The last release frees the lock. Returns done or not_owner.
HEIRLOCK_API heirlock_outcome heirlock_release(heirlock_lock* lock);

/// Declares that the data under the lock is consistent again: the next acquire of the free lock returns
/// acquired. Returns done or not_owner.
HEIRLOCK_API heirlock_outcome heirlock_repaired(heirlock_lock* lock);

/// The owner's thread id, 0 if the lock is free. May be out of date on return, unless the caller owns the
/// lock.
HEIRLOCK_API int32_t heirlock_owner(const heirlock_lock* lock);

/// How often the calling thread must call heirlock_release() to free the lock; 0 unless it owns the lock.
HEIRLOCK_API uint32_t heirlock_depth(const heirlock_lock* lock);

/// 1 if an owner died and nobody has called heirlock_repaired() since, else 0.
HEIRLOCK_API int32_t heirlock_needs_repair(const heirlock_lock* lock);

// --- Named segments ---
//
// A segment is one object in memory that any process of the same user can open by name: a lock, or a struct
// with a lock in it and what it guards. It is the file /dev/shm/heirlock.<name>, of mode 0600, and lives
// until heirlock_segment_remove() and until its last user is gone. systemd may remove its name, as it does
// all of an ordinary user's when the last session ends (RemoveIPC). The user's guide has remedies.
//
// `size`, `alignment` (a power of two up to 4096) and `type` are recorded in the segment. All who open it
// must give the same. `type` is any text that names the type. If C++ programs open the segment as
// heirlock::Shared<T>, it is the mangled name of T, such as "6Ledger" for a struct Ledger.
//
// Errors of every call that takes a name: invalid_name, unsupported_platform, system_error, no_memory. Of the
// calls that take a type also: invalid_argument. Of those that open an existing segment also:
// layout_mismatch, not_trusted. A call that fails sets *segment to zeros.

/// A segment that is open in this process. All zero: none.
typedef struct heirlock_segment {
  void* object;           ///< the address is this process's own
  void* mapping;          ///< for heirlock_segment_close()
  uint64_t mapping_size;  ///< for heirlock_segment_close()
} heirlock_segment;

/// Creates a segment whose object is all zero bytes, so that each lock in it is free. No process can open it
/// before it is complete. A creator that is killed leaves nothing behind. Returns done. Errors: file_exists;
/// file_missing if there is no /dev/shm.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_create(heirlock_segment* segment, const char* name,
                                                          uint64_t size, uint64_t alignment,
                                                          const char* type);

/// Opens a segment. Returns done or file_missing.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_open(heirlock_segment* segment, const char* name,
                                                        uint64_t size, uint64_t alignment, const char* type);

/// Opens a segment, or creates it if there is none. If several processes do so at once, one of them creates
/// the segment and all share it. Returns done, or file_missing if there is no /dev/shm.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_open_or_create(heirlock_segment* segment, const char* name,
                                                                  uint64_t size, uint64_t alignment,
                                                                  const char* type);

/// Closes this handle and sets *segment to zeros. The last handle in the process also unmaps the segment:
/// then no thread of the process may use the object, or hold a lock in it or wait for one. Does nothing if
/// *segment is all zero. Returns done. Errors: invalid_argument if `segment` is null.
HEIRLOCK_API heirlock_outcome heirlock_segment_close(heirlock_segment* segment);

/// Removes the name. Processes that have the segment open keep it. Returns done or file_missing.
HEIRLOCK_API heirlock_outcome heirlock_segment_remove(const char* name);

/// 1 if the name still leads to this segment. 0 if the name was removed, so that opening it now gives another
/// segment, or if the system does not tell.
HEIRLOCK_API int32_t heirlock_segment_is_named(const heirlock_segment* segment);

// --- Errors ---

/// The meaning of an outcome, in English; "unknown outcome" for any other number. Static memory, never null.
HEIRLOCK_API const char* heirlock_text(int32_t outcome);

/// The errno value for an outcome, as recursive robust pthread mutexes use them: 0 for acquired, reentered
/// and done, EOWNERDEAD for inherited, EPERM for not_owner, EDEADLK for recursion_too_deep. For not_acquired,
/// ETIMEDOUT if the calling thread's last acquire without success was a timed one, else EBUSY. For
/// system_error, heirlock_last_errno(). For the others, in the order of their numbers, EXDEV, ENOSYS, EPROTO,
/// EACCES, EINVAL, EINVAL, EEXIST, ENOENT and ENOMEM; for interrupted, EINTR.
HEIRLOCK_API int32_t heirlock_errno(int32_t outcome);

/// The message of the calling thread's last refused call: what happened and what to do, cut at 383 bytes.
/// Empty before the first. The memory belongs to the thread, and its next refused call overwrites it.
HEIRLOCK_API const char* heirlock_last_message(void);

/// The system's errno value in the calling thread's last refused call; 0 if the system did not refuse it, and
/// before the first.
HEIRLOCK_API int32_t heirlock_last_errno(void);

/// The version of the library, such as "0.1.0". Static memory.
HEIRLOCK_API const char* heirlock_version(void);

#ifdef __cplusplus
}
#endif
#endif
