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

/// Notes it, with "heirlock: " before the message; `system` is 0, or the errno value of what is a
/// system_error. Returns the outcome, of which the system's errors have three of their own.
HEIRLOCK_COLD __attribute__((format(printf, 3, 4))) Outcome refused(Outcome outcome, int system,
                                                                    const char* format, ...) noexcept;

/// Notes for the algorithm, which knows no messages, why it refused `call` on the lock. What the Platform
/// refused is noted already. Returns the outcome.
HEIRLOCK_COLD Outcome explained(Outcome outcome, const LinuxLock& lock, const char* call) noexcept;

// For operations that must not change errno, whatever they ask of the system.
struct ErrnoKept {
  const int value = errno;
  ~ErrnoKept() { errno = value; }
};

}  // namespace heirlock::detail_v0_1
#endif
