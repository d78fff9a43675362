// What an operation came to, as a value: nothing inside the library throws.
#ifndef HEIRLOCK_DETAIL_OUTCOME_HPP
#define HEIRLOCK_DETAIL_OUTCOME_HPP

#include <cstdint>

#include "heirlock/detail/attributes.hpp"

namespace heirlock {
inline namespace v0_1 {

/// What an acquire came to.
enum class AcquireResult : std::uint8_t {
  not_acquired,  ///< busy, or the deadline passed
  acquired,      ///< was free, now yours at depth 1
  reentered,     ///< was yours already, one deeper
  inherited,  ///< its last owner died, or released it unrepaired; yours at depth 1, state may be half-written
};

namespace detail {

// Above 0 the operation did what its name says, 0 means busy, below 0 it was refused and has changed nothing.
// The numbers are those of heirlock.h, and the first four those of AcquireResult.
enum class Outcome : std::int32_t {
  not_acquired,
  acquired,
  reentered,
  inherited,
  done,
  not_owner = -1,
  recursion_too_deep = -2,
  foreign_pid_namespace = -3,
  unsupported_platform = -4,
  layout_mismatch = -5,
  not_trusted = -6,
  invalid_name = -7,
  invalid_argument = -8,
  file_exists = -9,
  file_missing = -10,
  no_memory = -11,
  system_error = -12,
};

constexpr bool is_refused(Outcome outcome) noexcept {
  return outcome < Outcome::not_acquired;
}

}  // namespace detail
}  // namespace v0_1
}  // namespace heirlock
#endif
