// How often a property is tried.
#ifndef HEIRLOCK_TESTS_PROPERTY_CHECK_HPP
#define HEIRLOCK_TESTS_PROPERTY_CHECK_HPP

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "heirlock/detail/attributes.hpp"

namespace property {

#if HEIRLOCK_THREAD_SANITIZER
inline constexpr int tries = 50;  // it takes ten times as long
#else
inline constexpr int tries = 200;
#endif

/// Unless the environment says otherwise: RapidCheck reads RC_PARAMS once.
inline void set_tries() {
  setenv("RC_PARAMS", ("max_success=" + std::to_string(tries)).c_str(), 0);
}

/// Tries a property in the test that runs. A failure is shortened, printed, and told how to reproduce.
template <class Property>
void check(Property&& property) {
  set_tries();
  rc::detail::checkGTest(std::forward<Property>(property));
}

}  // namespace property
#endif
