// The fixture of claims that are proved between threads and between processes, by the same body.
#ifndef HEIRLOCK_TESTS_SUPPORT_BETWEEN_PARTIES_HPP
#define HEIRLOCK_TESTS_SUPPORT_BETWEEN_PARTIES_HPP

#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"

namespace support {

/// Each program that uses it says INSTANTIATE_TEST_SUITE_P(As, BetweenParties, each_kind_of_party,
/// kind_name).
class BetweenParties : public testing::TestWithParam<As> {
 protected:
  BetweenParties() { forget_quiet_locks(); }

  /// Another party, started at once.
  Party other(std::function<void()> body) const { return Party(GetParam(), std::move(body)); }

  InSharedMemory<heirlock::ReentrantLock> lock;
};

inline const auto each_kind_of_party = testing::Values(As::thread, As::process);
inline const auto kind_name = testing::PrintToStringParamName();

}  // namespace support
#endif
