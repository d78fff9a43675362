#include "last_error.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace heirlock {
inline namespace v0_1 {
namespace detail {

Outcome refused(Outcome outcome, int system, const char* format, ...) noexcept {
  const ErrnoKept errno_kept;
  constexpr char prefix[] = "heirlock: ";
  constexpr std::size_t length = sizeof prefix - 1;
  last_error.system = system;
  std::memcpy(last_error.message, prefix, length);
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(last_error.message + length, sizeof last_error.message - length, format, values);
  va_end(values);
  return system == EEXIST   ? Outcome::file_exists
         : system == ENOENT ? Outcome::file_missing
         : system == ENOMEM ? Outcome::no_memory
                            : outcome;
}

Outcome explained(Outcome outcome, const LinuxLock& lock, const char* call) noexcept {
  if (outcome == Outcome::recursion_too_deep)
    return refused(outcome, 0,
                   "%s() found a depth of 4294967295, expected less; look for an acquire without its release",
                   call);
  if (outcome != Outcome::not_owner) return outcome;
  char found[48] = "a free lock";
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  if (owner != 0) std::snprintf(found, sizeof found, "a lock owned by thread %u", owner);
  return refused(outcome, 0,
                 "%s() found %s, expected one owned by the calling thread %ld; call it once for each "
                 "acquire, in the thread that acquired",
                 call, found, syscall(SYS_gettid));
}

}  // namespace detail
}  // namespace v0_1
}  // namespace heirlock
