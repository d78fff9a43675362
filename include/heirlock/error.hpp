// What heirlock throws.
#ifndef HEIRLOCK_ERROR_HPP
#define HEIRLOCK_ERROR_HPP

#include <stdexcept>
#include <system_error>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock {
inline namespace v0_1 {

/// release() or repaired() by a thread that does not own the lock. The program is wrong; the lock is
/// unchanged.
class AssertionError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Why heirlock refuses, as the code of a std::system_error. Nothing has changed when it is thrown. The
/// numbers are those of heirlock.h, without their sign.
enum class errc {
  recursion_too_deep = 2,  ///< the lock is held 2^32-1 times already
  foreign_pid_namespace,   ///< the lock belongs to another PID namespace
  unsupported_platform,    ///< the kernel, the libc or a sandbox lacks what the lock is built on
  layout_mismatch,         ///< a named segment holds something else than what it was opened as
  not_trusted,             ///< a named segment that somebody else owns or may write
};

/// The category of errc; its name is "heirlock".
const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

}  // namespace v0_1
}  // namespace heirlock

namespace heirlock::detail_v0_1 {

/// Throws what an operation was refused with, whose message is the calling thread's last.
[[noreturn]] HEIRLOCK_COLD void throw_refusal(Outcome outcome);
/// Releases what the caller has inherited, its mark kept, and throws std::errc::owner_dead.
[[noreturn]] HEIRLOCK_COLD void give_back_and_throw(LinuxLock& lock);
inline void require_done(Outcome outcome) {
  if (is_refused(outcome)) throw_refusal(outcome);
}

}  // namespace heirlock::detail_v0_1

template <>
struct std::is_error_code_enum<heirlock::errc> : std::true_type {};

#endif
