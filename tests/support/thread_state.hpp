// What /proc tells of a thread.
#ifndef HEIRLOCK_TESTS_SUPPORT_THREAD_STATE_HPP
#define HEIRLOCK_TESTS_SUPPORT_THREAD_STATE_HPP

#include <sys/types.h>

namespace support {

/// Its state: 'R', 'S', 'T', 'Z' ...; 0 when it is gone.
char state_of(pid_t tid);
/// The futex that it sleeps on, at an address of its own, which a forked child shares; null if on none.
const void* futex_slept_on(pid_t tid);
inline bool is_asleep_on(pid_t tid, const void* futex) {
  return futex_slept_on(tid) == futex;
}

}  // namespace support
#endif
