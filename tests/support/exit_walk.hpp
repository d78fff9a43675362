// Which walk over a dying thread's locks this kernel has.
#ifndef HEIRLOCK_TESTS_SUPPORT_EXIT_WALK_HPP
#define HEIRLOCK_TESTS_SUPPORT_EXIT_WALK_HPP

#include <cstdint>
#include <ostream>

namespace support {

/// The kinds that Linux has had, `[kernel.pending-free]` and `[kernel.pending-foreign]` of SPECIFICATION.md.
/// They differ in when one sleeper is woken on a pending lock that the dying thread does not hold.
enum class ExitWalk {
  before_2022,  ///< if the whole word is 0
  since_2022,   ///< if nobody holds it
  since_2026,   ///< if nobody holds it, or WAITERS is not set
};
std::ostream& operator<<(std::ostream& out, ExitWalk walk);

/// Whether this walk wakes a sleeper on a pending lock with this word, which does not name the dying thread.
bool wakes_for_pending(ExitWalk walk, std::uint32_t word);

/// Which one the running kernel shows when two processes die with such a lock pending. Asked once. Whether
/// the kernel is like it in all cases, tests/kernel asks.
ExitWalk exit_walk_of_this_kernel();

}  // namespace support
#endif
