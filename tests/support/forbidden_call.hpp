// A system that refuses a system call, as a sandbox does (seccomp(2)).
#ifndef HEIRLOCK_TESTS_SUPPORT_FORBIDDEN_CALL_HPP
#define HEIRLOCK_TESTS_SUPPORT_FORBIDDEN_CALL_HPP

#include <cerrno>
#include <cstdint>

namespace support {

/// Which of the calls: those whose argument, in the bits of the mask, has this value. By default all.
struct Where {
  unsigned argument = 0;
  std::uint32_t mask = 0;
  std::uint32_t value = 0;
};

/// From now on this system call fails with `error` in the calling process. Returns false where the system
/// does not let a process confine itself.
bool forbid(long number, Where where = {}, int error = EPERM);

/// Whether this system lets a process confine itself.
bool can_forbid();

}  // namespace support
#endif
