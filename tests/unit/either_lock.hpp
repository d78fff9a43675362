// What tests need that a ReentrantLock and a Lockable pass alike.
#ifndef HEIRLOCK_TESTS_UNIT_EITHER_LOCK_HPP
#define HEIRLOCK_TESTS_UNIT_EITHER_LOCK_HPP

#include <gtest/gtest.h>

#include <system_error>

#include "heirlock/lockable.hpp"
#include "support/acquire_result.hpp"
#include "support/party.hpp"
#include "support/shared_memory.hpp"

/// A Lockable that can mend nothing.
struct Plain : heirlock::Lockable {
  explicit Plain(heirlock::ReentrantLock& placed) : Lockable(placed) {}
};
using EitherLock = testing::Types<heirlock::ReentrantLock&, Plain>;

/// A lock that forked children share, and how the test takes it.
template <class Lock>
struct Either {
  testing::AssertionResult is_free(bool needs_repair) const {
    if (mutex->owner() == 0 && mutex->needs_repair() == needs_repair) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "owner " << mutex->owner() << ", flag " << mutex->needs_repair();
  }
  /// Its owner dies.
  void poison() const {
    support::Party(support::As::process, [&] { static_cast<void>(mutex->acquire()); }).join();
  }

  support::InSharedMemory<heirlock::ReentrantLock> mutex;
  Lock lock{*mutex};
};

template <class Operation>
bool throws_owner_dead(Operation&& operation) {
  try {
    operation();
  } catch (const std::system_error& error) {
    return error.code() == std::errc::owner_dead;
  }
  return false;
}

#endif
