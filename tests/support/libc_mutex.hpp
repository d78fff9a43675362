// libc's mutex as heirlock's tests and measurements hold it beside the lock: in memory that processes share.
#ifndef HEIRLOCK_TESTS_SUPPORT_LIBC_MUTEX_HPP
#define HEIRLOCK_TESTS_SUPPORT_LIBC_MUTEX_HPP

#include <pthread.h>

namespace support {

/// Makes a mutex of this type (PTHREAD_MUTEX_RECURSIVE ...), robust or not. Returns 0, or the error's number.
inline int make_libc_mutex(pthread_mutex_t& mutex, int type, bool is_robust,
                           int protocol = PTHREAD_PRIO_NONE) {
  pthread_mutexattr_t attributes;
  if (const int error = pthread_mutexattr_init(&attributes)) return error;
  pthread_mutexattr_settype(&attributes, type);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, is_robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
  pthread_mutexattr_setprotocol(&attributes, protocol);
  const int error = pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return error;
}

}  // namespace support
#endif
