// The exceptions of heirlock.
#ifndef HEIRLOCK_ERROR_HPP
#define HEIRLOCK_ERROR_HPP

#include <stdexcept>
#include <system_error>

#include "heirlock/detail/linux_platform.hpp"

namespace heirlock {
inline namespace v0_1 {

/// A thread that does not own the lock called release() or repaired(). This is a bug in the program. The lock
/// is unchanged.
class AssertionError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// The code of a std::system_error that heirlock throws. The refused operation has changed nothing. The
/// numbers are the outcomes of heirlock.h without their sign.
enum class errc {
  recursion_too_deep = 2,  ///< the caller holds the lock 2^32-1 times already
  foreign_pid_namespace,   ///< the lock belongs to another PID namespace
  unsupported_platform,    ///< the kernel, libc or sandbox lacks something the lock needs
  layout_mismatch,         ///< the named segment holds another type, size or layout version
  not_trusted,             ///< another user owns the named segment or may write to it
};

/// The category of errc. Its name is "heirlock".
const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

}  // namespace v0_1
}  // namespace heirlock

namespace heirlock::detail_v0_1 {

/// Throws the exception for a refusal, with the message in the calling thread's last_error.
[[noreturn]] HEIRLOCK_COLD void throw_refusal(Outcome outcome);
/// Releases a lock that the caller has inherited, keeps OWNER_DIED set, and throws std::errc::owner_dead.
[[noreturn]] HEIRLOCK_COLD void give_back_and_throw(LinuxLock& lock);
inline void require_done(Outcome outcome) {
  if (is_refused(outcome)) throw_refusal(outcome);
}

}  // namespace heirlock::detail_v0_1

template <>
struct std::is_error_code_enum<heirlock::errc> : std::true_type {};

#endif
