// How a failed expectation shows what an acquire came to.
#ifndef HEIRLOCK_TESTS_SUPPORT_ACQUIRE_RESULT_HPP
#define HEIRLOCK_TESTS_SUPPORT_ACQUIRE_RESULT_HPP

#include <ostream>

#include "heirlock/reentrant_lock.hpp"

namespace heirlock {

inline const char* name_of(AcquireResult result) {
  switch (result) {
    case AcquireResult::not_acquired:
      return "not_acquired";
    case AcquireResult::acquired:
      return "acquired";
    case AcquireResult::reentered:
      return "reentered";
    case AcquireResult::inherited:
      return "inherited";
  }
  return "no AcquireResult at all";
}

inline std::ostream& operator<<(std::ostream& out, AcquireResult result) {
  return out << name_of(result);
}

}  // namespace heirlock
#endif
