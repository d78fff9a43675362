// How often a property is tried.
#ifndef HEIRLOCK_TESTS_PROPERTY_CHECK_HPP
#define HEIRLOCK_TESTS_PROPERTY_CHECK_HPP

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <utility>

namespace property {

inline constexpr int tries = 200;

/// Unless the environment says otherwise: RapidCheck reads RC_PARAMS once.
inline void set_tries() {
  setenv("RC_PARAMS", "max_success=200", 0);
}

/// Tries a property in the test that runs. A failure is shortened, printed, and told how to reproduce.
template <class Property>
void check(Property&& property) {
  set_tries();
  rc::detail::checkGTest(std::forward<Property>(property));
}

}  // namespace property
#endif
