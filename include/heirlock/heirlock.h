// The C interface of heirlock: C99, also for C++, and for any language that can call C.
//
// A call returns its outcome: above 0 it did what its name says, 0 means that the lock is busy, below 0 that
// it was refused and has changed nothing. No call throws, sets errno or needs it, or is a cancellation point;
// none may be made in a signal handler or in the child of vfork.
//
// Owner:   a thread. Another thread of the same process is another owner.
// Death:   when the owner dies, however it dies, the next acquire returns heirlock_inherited. So does each
//          one after it, until somebody calls heirlock_repaired().
// fork:    the child owns nothing; its parent keeps what it owns. The child may use the same locks.
// exec:    is a death: the new program owns nothing.
// Mapping: one lock may be mapped at several addresses, in one process or in many: it is one lock. The
//          address that was given to the first acquire must stay mapped until the last release.
// Destroy: there is nothing to destroy. A free lock's memory can be unmapped or used for something else.
//
// In libheirlock_c.so, which is never unloaded, libheirlock_c.a, and the C++ library. Who links an archive
// uses a copy of its own, which is hidden unless HEIRLOCK_API says otherwise. Several copies in one process
// know the same owners; but a copy in which a thread has acquired no lock yet refuses its release.
#ifndef HEIRLOCK_HEIRLOCK_H
#define HEIRLOCK_HEIRLOCK_H

#include <stdint.h>

#if !defined(__linux__) || !defined(__LP64__) || !defined(__GLIBC__)
#error "heirlock: found a target that is not 64-bit Linux with glibc; the lock shares the robust list of both"
#endif

#ifndef HEIRLOCK_API
#define HEIRLOCK_API
#endif

// A compiler warns where such a call's outcome is not looked at: a death, or a busy lock, would go unnoticed.
#define HEIRLOCK_CHECKED HEIRLOCK_API __attribute__((warn_unused_result))

/// The version of this header; heirlock_version() has the library's.
#define HEIRLOCK_VERSION "0.1.0"

/// The version of the memory that processes share: those of one version may share a lock.
#define HEIRLOCK_LAYOUT_VERSION 1

/// What a segment is said to hold that holds a lock alone: then it is the lock of heirlock::Lockable(name).
#define HEIRLOCK_LOCK_TYPE "N8heirlock13ReentrantLockE"

#ifdef __cplusplus
extern "C" {
#endif

/// What a call came to; an int to languages that know no enums.
typedef enum heirlock_outcome {
  heirlock_not_acquired = 0,  ///< busy, or the time was over
  heirlock_acquired = 1,      ///< was free, now yours at depth 1
  heirlock_reentered = 2,     ///< was yours already, one deeper
  heirlock_inherited = 3,  ///< its last owner died, or released it unrepaired; yours at depth 1, and what it
                           ///< guards may be half-written: mend that, then call heirlock_repaired()
  heirlock_done = 4,       ///< a call that is no acquire has succeeded

  heirlock_not_owner = -1,              ///< the calling thread does not own the lock
  heirlock_recursion_too_deep = -2,     ///< the lock is held 2^32-1 times already
  heirlock_foreign_pid_namespace = -3,  ///< the lock belongs to another PID namespace
  heirlock_unsupported_platform = -4,   ///< kernel, libc or a sandbox lacks what the lock is built on
  heirlock_layout_mismatch = -5,        ///< the segment holds something else than what it was opened as
  heirlock_not_trusted = -6,            ///< somebody else owns or may write the segment
  heirlock_invalid_name = -7,           ///< not 1 to 200 letters, digits, '.', '-' and '_'
  heirlock_invalid_argument = -8,       ///< a null pointer, a lock that is not aligned to 8, a size or an
                                        ///< alignment that cannot be
  heirlock_file_exists = -9,            ///< the name is taken
  heirlock_file_missing = -10,          ///< there is no such segment, or no /dev/shm
  heirlock_no_memory = -11,             ///< the system has no memory left, or no addresses
  heirlock_system_error = -12,          ///< another error of the system: heirlock_last_errno() has it
  heirlock_interrupted = -13            ///< a signal handler ran during the wait of an interruptible acquire
} heirlock_outcome;

/// A lock, in memory that its users share: `MAP_SHARED`, or for the threads of one process any. 40 bytes,
/// aligned to 8. All zero is a free lock, so zeroed memory needs no heirlock_init().
/// Not to be copied, nor unmapped or used for something else while a thread holds it or waits for it.
typedef struct heirlock_lock {
  uint64_t opaque[5];
} heirlock_lock;

// --- The lock ---
//
// Errors of every call that takes `lock` and returns an outcome: invalid_argument if the pointer is null or
// not aligned to 8. Errors of every acquire: recursion_too_deep, foreign_pid_namespace, unsupported_platform,
// and no_memory at the first use in a process. Calls that return no outcome have no errors and no effects;
// their pointer must be one to a lock.

/// Makes a free lock of the memory, which nobody may hold or wait for. Returns done.
HEIRLOCK_API heirlock_outcome heirlock_init(heirlock_lock* lock);

/// Waits until the lock is the caller's. Returns acquired, reentered or inherited.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire(heirlock_lock* lock);

/// Takes the lock if that needs no waiting. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_try_acquire(heirlock_lock* lock);

/// Waits for the lock at least for `nanoseconds`, on CLOCK_MONOTONIC. Zero or less tries once, INT64_MAX
/// waits for ever. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_for(heirlock_lock* lock, int64_t nanoseconds);

/// Waits for the lock at least until CLOCK_MONOTONIC shows `nanoseconds`. A moment that has passed tries
/// once, INT64_MAX waits for ever. Returns acquired, reentered, inherited or not_acquired.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_until(heirlock_lock* lock, int64_t nanoseconds);

/// As heirlock_acquire_until(), but a signal handler that runs in the calling thread while it waits ends the
/// wait. Returns interrupted then. Of the other acquires no signal ends the wait. A handler that runs just
/// before the thread sleeps is not noticed: who looks at a flag of the handler's gives a deadline as well.
HEIRLOCK_CHECKED heirlock_outcome heirlock_acquire_interruptible(heirlock_lock* lock, int64_t nanoseconds);

/// Gives back one acquire; the last one frees the lock. Returns done, or not_owner.
HEIRLOCK_API heirlock_outcome heirlock_release(heirlock_lock* lock);

/// Declares whole what the lock guards: the next owner does not inherit. Returns done, or not_owner.
HEIRLOCK_API heirlock_outcome heirlock_repaired(heirlock_lock* lock);

/// The thread id of the owner, 0 when the lock is free. Another thread's answer is a snapshot.
HEIRLOCK_API int32_t heirlock_owner(const heirlock_lock* lock);

/// How many releases the calling thread owes; 0 unless it owns the lock.
HEIRLOCK_API uint32_t heirlock_depth(const heirlock_lock* lock);

/// 1 if an owner died or released unrepaired, and nobody has called heirlock_repaired() since; else 0.
HEIRLOCK_API int32_t heirlock_needs_repair(const heirlock_lock* lock);

// --- Named segments ---
//
// A segment is one object in memory that any process of the same user can open by name: a lock, or a struct
// with a lock in it and what it guards. It is the file /dev/shm/heirlock.<name>, of mode 0600, and lives
// until heirlock_segment_remove() and until its last user is gone. systemd may remove its name, as it does
// all of an ordinary user's when the last session ends (RemoveIPC). The user's guide has remedies.
//
// `size`, `alignment` (a power of two up to 4096) and `type` are recorded, and must be the same for all who
// open it. `type` is any text that names the object's type: for C++ programs that open it as
// heirlock::Shared<T>, the name of T as the ABI mangles it, such as "6Ledger" for a struct Ledger.
//
// Errors of every call that takes a name: invalid_name, unsupported_platform, system_error, no_memory. Of
// those that take a type: invalid_argument, and of those that open what is there: layout_mismatch,
// not_trusted. A call that fails sets *segment to zeros.

/// A segment that is open in this process. All zero: none.
typedef struct heirlock_segment {
  void* object;           ///< at an address of this process's own
  void* mapping;          ///< for heirlock_segment_close()
  uint64_t mapping_size;  ///< likewise
} heirlock_segment;

/// Makes a segment whose object is all zero bytes, so that each lock in it is free. Nobody sees it before it
/// is complete; who is killed meanwhile leaves nothing. Returns done. Errors: file_exists; file_missing if
/// there is no /dev/shm.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_create(heirlock_segment* segment, const char* name,
                                                          uint64_t size, uint64_t alignment,
                                                          const char* type);

/// Opens a segment. Returns done, or file_missing.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_open(heirlock_segment* segment, const char* name,
                                                        uint64_t size, uint64_t alignment, const char* type);

/// Opens a segment, or creates it when there is none. Of several that do so at once, one creates and all
/// share. Returns done, or file_missing if there is no /dev/shm.
HEIRLOCK_CHECKED heirlock_outcome heirlock_segment_open_or_create(heirlock_segment* segment, const char* name,
                                                                  uint64_t size, uint64_t alignment,
                                                                  const char* type);

/// Ends this handle, sets *segment to zeros, and unmaps the segment if the handle was the process's last;
/// does nothing if it is all zero. When the last one ends, no thread of the process may hold a lock in it,
/// wait for one, or use the object. Returns done. Errors: invalid_argument if `segment` is null.
HEIRLOCK_API heirlock_outcome heirlock_segment_close(heirlock_segment* segment);

/// Takes the name away; those who have the segment keep it. Returns done, or file_missing.
HEIRLOCK_API heirlock_outcome heirlock_segment_remove(const char* name);

/// 1 if the name still leads to the segment; 0 if it was taken away, so that who opens it now shares another
/// object, or if that cannot be told.
HEIRLOCK_API int32_t heirlock_segment_is_named(const heirlock_segment* segment);

// --- What went wrong ---

/// What an outcome means, in English; "unknown outcome" for a number that is none. Static memory, never null.
HEIRLOCK_API const char* heirlock_text(int32_t outcome);

/// An errno value for an outcome, as a recursive, robust pthread mutex has them: 0 for acquired, reentered
/// and done, EOWNERDEAD for inherited, EPERM for not_owner, EDEADLK for recursion_too_deep. For not_acquired,
/// ETIMEDOUT if the calling thread's last acquire in vain was a timed one, else EBUSY. For system_error,
/// heirlock_last_errno(). For the others, in the order of their numbers, EXDEV, ENOSYS, EPROTO, EACCES,
/// EINVAL, EINVAL, EEXIST, ENOENT and ENOMEM; for interrupted EINTR.
HEIRLOCK_API int32_t heirlock_errno(int32_t outcome);

/// What the calling thread's last call with an outcome below 0 found, what it expected and what to do; cut at
/// 383 bytes. Empty before the first. The memory is the thread's, and stays as it is until its next such
/// call.
HEIRLOCK_API const char* heirlock_last_message(void);

/// The errno value with which the system refused the calling thread's last call with an outcome below 0; 0 if
/// it was not the system, and before the first.
HEIRLOCK_API int32_t heirlock_last_errno(void);

/// The version of the library, such as "0.1.0". Static memory.
HEIRLOCK_API const char* heirlock_version(void);

#ifdef __cplusplus
}
#endif
#endif
