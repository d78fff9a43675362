// Why the calling thread's last call was refused: what C++ throws and C asks for.
#ifndef HEIRLOCK_SRC_LAST_ERROR_HPP
#define HEIRLOCK_SRC_LAST_ERROR_HPP

#include <cerrno>
#include <cstdint>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock::detail_v0_1 {

struct LastError {
  std::int32_t system = 0;  // errno's value, 0 if it was not the system
  char message[384] = "";   // without the system's words for `system`
};
inline thread_local LastError last_error HEIRLOCK_STATIC_TLS{};

/// Notes it; `system` is 0, or the errno value of a system_error, of which three have outcomes of their own.
HEIRLOCK_COLD Outcome refused(Outcome outcome, int system, const char* format, ...) noexcept
    __attribute__((format(printf, 3, 4)));

// For operations that must not change errno, whatever they ask of the system.
struct ErrnoKept {
  const int value = errno;
  ~ErrnoKept() { errno = value; }
};

}  // namespace heirlock::detail_v0_1
#endif
