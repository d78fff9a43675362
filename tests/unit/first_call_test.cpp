// The first call that a process or thread makes, whatever it is, finds that the caller owns nothing. The main
// process of this program uses no lock itself: what it forks begins as new. Its child is made by fork, by
// _Fork, which runs no handlers, or by clone and clone3, of which libc knows nothing.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>

#include "heirlock/detail/attributes.hpp"
#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::ReentrantLock;
using support::As;
using support::Birth;
using support::Child;
using support::Gate;
using support::InSharedMemory;
using support::my_tid;
using support::Party;

namespace {

enum class Past {
  nobody_used_a_lock,
  the_parent_used_it,
  the_parent_owns_it,
  another_thread_used_it,
  another_thread_owns_it,
};
enum class Call { acquire, try_acquire, acquire_for, release, repaired, is_owned, depth, owner };

const char* const names_of_pasts[] = {"nobody_used_a_lock", "the_parent_used_it", "the_parent_owns_it",
                                      "another_thread_used_it", "another_thread_owns_it"};
const char* const names_of_calls[] = {"acquire",  "try_acquire", "acquire_for", "release",
                                      "repaired", "is_owned",    "depth",       "owner"};

constexpr bool is_owned_after(Past past) {
  return past == Past::the_parent_owns_it || past == Past::another_thread_owns_it;
}

class FirstCall : public testing::TestWithParam<std::tuple<Past, Call>> {
 protected:
  // What the caller, whose first call it is, must be told of a lock that is free or owned by `owner`.
  void call(pid_t owner) {
    const AcquireResult taken = owner == 0 ? AcquireResult::acquired : AcquireResult::not_acquired;
    AcquireResult result = AcquireResult::not_acquired;
    switch (std::get<Call>(GetParam())) {
      case Call::acquire:
        EXPECT_EQ(result = lock->acquire(), AcquireResult::acquired);  // after a sleep if it is owned
        break;
      case Call::try_acquire:
        EXPECT_EQ(result = lock->try_acquire(), taken);
        break;
      case Call::acquire_for:
        EXPECT_EQ(result = lock->acquire_for(std::chrono::milliseconds(1)), taken);
        break;
      case Call::release:
        EXPECT_THROW(lock->release(), AssertionError);
        break;
      case Call::repaired:
        EXPECT_THROW(lock->repaired(), AssertionError);
        break;
      case Call::is_owned:
        EXPECT_FALSE(lock->is_owned());
        break;
      case Call::depth:
        EXPECT_EQ(lock->depth(), 0U);
        break;
      case Call::owner:
        EXPECT_EQ(lock->owner(), owner);
        break;
    }
    if (result == AcquireResult::not_acquired) return;
    EXPECT_EQ(lock->owner(), static_cast<pid_t>(my_tid()));
    EXPECT_EQ(lock->depth(), 1U);
    lock->release();
    EXPECT_EQ(lock->owner(), 0);
  }

  // The first call of a caller whom `make` makes, while its past is what the test's parameter says.
  template <class Make>
  void call_as(Make make) {
    const Past past = std::get<Past>(GetParam());
    Gate taken, enough;
    const auto use = [&] {
      static_cast<void>(lock->acquire());
      taken.open();
      if (is_owned_after(past)) enough.wait();
      lock->release();
    };
    std::unique_ptr<std::thread> another;
    if (past == Past::the_parent_used_it || past == Past::the_parent_owns_it)
      static_cast<void>(lock->acquire());
    if (past == Past::the_parent_used_it) lock->release();
    if (past == Past::another_thread_used_it || past == Past::another_thread_owns_it) {
      another = std::make_unique<std::thread>(use);
      taken.wait();
    }
    if (past == Past::another_thread_used_it) another->join();

    const pid_t owner = lock->owner();
    EXPECT_EQ(owner != 0, is_owned_after(past));
    const std::unique_ptr party = make([&, owner] { call(owner); });
    if (owner != 0 && std::get<Call>(GetParam()) == Call::acquire)
      party->wait_until_asleep_on(&*lock);
    else
      party->join();
    EXPECT_EQ(lock->owner(), owner);

    if (past == Past::the_parent_owns_it) lock->release();
    if (past == Past::another_thread_owns_it) {
      enough.open();
      another->join();
    }
    party->join();
  }

  InSharedMemory<ReentrantLock> lock;
};

INSTANTIATE_TEST_SUITE_P(
    Where, FirstCall,
    testing::Combine(testing::Values(Past::nobody_used_a_lock, Past::the_parent_used_it,
                                     Past::the_parent_owns_it, Past::another_thread_used_it,
                                     Past::another_thread_owns_it),
                     testing::Values(Call::acquire, Call::try_acquire, Call::acquire_for, Call::release,
                                     Call::repaired, Call::is_owned, Call::depth, Call::owner)),
    [](const auto& tested) {
      return std::string(names_of_calls[static_cast<int>(std::get<Call>(tested.param))]) + "_where_" +
             names_of_pasts[static_cast<int>(std::get<Past>(tested.param))];
    });

#if HEIRLOCK_THREAD_SANITIZER  // which sees a child by fork alone
constexpr Birth births[] = {Birth::fork};
#else
constexpr Birth births[] = {Birth::fork, Birth::fork_without_handlers, Birth::clone, Birth::clone3};
#endif

// Spec: lock.owner.child
TEST_P(FirstCall, of_a_child_finds_that_it_owns_nothing) {
  for (const Birth birth : births) {
    if (!support::can_make_child(birth)) continue;
    const testing::ScopedTrace trace(__FILE__, __LINE__, birth);
    Party(As::process, [&] {
      call_as([&](std::function<void()> body) { return std::make_unique<Child>(birth, body); });
    }).join();
  }
}

// Spec: lock.owner.query
TEST_P(FirstCall, of_a_thread_finds_that_it_owns_nothing) {
  Party(As::process, [&] {
    call_as([&](std::function<void()> body) { return std::make_unique<Party>(As::thread, body); });
  }).join();
}

}  // namespace
