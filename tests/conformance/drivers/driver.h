// What the drivers of the conformance kit in C and C++ are made of. The protocol is in ../README.md.
//
//   driver.c          the protocol: requests, threads, fork, exec. It knows no lock.
//   c.c               heirlock's C interface                       -> heirlock-driver-c
//   cpp.cpp           heirlock's C++ interface                     -> heirlock-driver-cpp
//   pthread_robust.c  glibc's robust recursive mutex, to compare   -> heirlock-driver-pthread-robust
//
// A driver for another lock is one more file like the last three: a `port`, and a main that drives it.
#ifndef HEIRLOCK_TESTS_CONFORMANCE_DRIVER_H
#define HEIRLOCK_TESTS_CONFORMANCE_DRIVER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A named segment that is open in this process.
typedef struct segment {
  void* lock;
  void* handle;  ///< the port's own
} segment;

/// What a port does with a lock. Each call returns the result in the protocol's words, as a literal or by
/// result(). Several threads may call at once. Null is a call that the port does not have.
typedef struct port {
  const char* capabilities;
  void (*prepare)(void* memory);  ///< at each start, while no other process does: frees the locks if need be
  const char* (*acquire)(void* lock);
  const char* (*acquire_for)(void* lock, int64_t milliseconds);
  const char* (*try_acquire)(void* lock);
  const char* (*lock)(void* lock);
  const char* (*try_lock)(void* lock);
  const char* (*release)(void* lock);
  const char* (*repaired)(void* lock);
  const char* (*depth)(void* lock);
  const char* (*owner)(void* lock);
  const char* (*flag)(void* lock);
  const char* (*create)(const char* name, segment* made);
  const char* (*open)(const char* name, segment* made);
  const char* (*open_or_create)(const char* name, segment* made);
  const char* (*close)(segment* open);
  const char* (*remove)(const char* name);
} port;

enum { lock_count = 64, lock_stride = 64, memory_size = lock_count * lock_stride };

/// Makes a result, as printf does. It stays as it is until the thread's next call.
const char* result(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Is the driver of this port, until its input ends. Returns main's status when it cannot begin.
int drive(const port* driven, int argument_count, char** arguments);

#ifdef __cplusplus
}
#endif
#endif
