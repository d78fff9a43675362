// Why the calling thread's last refused call was refused. The C++ interface throws it, the C one returns it.
#ifndef HEIRLOCK_SRC_LAST_ERROR_HPP
#define HEIRLOCK_SRC_LAST_ERROR_HPP

#include <cerrno>
#include <cstdint>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock::detail_v0_1 {

struct LastError {
  std::int32_t system = 0;  // the system's errno value, or 0
  char message[384] = "";   // without the system's text for `system`
};
inline thread_local LastError last_error HEIRLOCK_STATIC_TLS{};

/// Records a refusal and returns its outcome. If `system` is an errno value with its own outcome (EEXIST,
/// ENOENT, ENOMEM), that replaces `outcome`.
HEIRLOCK_COLD Outcome refused(Outcome outcome, int system, const char* format, ...) noexcept
    __attribute__((format(printf, 3, 4)));

// Restores errno at the end of its scope.
struct ErrnoKept {
  const int value = errno;
  ~ErrnoKept() { errno = value; }
};

}  // namespace heirlock::detail_v0_1
#endif
