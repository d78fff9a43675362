// What an operation came to, as a value: nothing inside the library throws.
#ifndef HEIRLOCK_DETAIL_OUTCOME_HPP
#define HEIRLOCK_DETAIL_OUTCOME_HPP

#include <cstdint>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/heirlock.h"

namespace heirlock {
inline namespace v0_1 {

/// What an acquire came to.
enum class AcquireResult : std::uint8_t {
  not_acquired,  ///< busy, or the deadline passed
  acquired,      ///< was free, now yours at depth 1
  reentered,     ///< was yours already, one deeper
  inherited,  ///< its last owner died, or released it unrepaired; yours at depth 1, state may be half-written
};

}  // namespace v0_1
}  // namespace heirlock

namespace heirlock::detail_v0_1 {

// Above 0 the operation did what its name says, 0 means busy, below 0 it was refused and has changed nothing.
// The first four are those of AcquireResult.
using Outcome = heirlock_outcome;

constexpr bool is_refused(Outcome outcome) noexcept {
  return outcome < heirlock_not_acquired;
}

}  // namespace heirlock::detail_v0_1
#endif
