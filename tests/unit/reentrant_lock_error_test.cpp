// Errors: what they say, what they are, and that errno stays the caller's.
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_probe.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::errc;
using heirlock::ReentrantLock;
using heirlock::detail::waiters_bit;
using std::chrono::duration;
using std::chrono::milliseconds;
using support::BetweenParties;
using support::fields_of;
using support::Gate;
using support::InSharedMemory;
using support::my_tid;
using support::Party;

namespace {

INSTANTIATE_TEST_SUITE_P(As, BetweenParties, support::each_kind_of_party, support::kind_name);

// --- What they say ---

std::string message_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What happened, and after the semicolon what to do.
void expect_a_helpful(const std::string& message, const std::string& happened, const std::string& advice) {
  EXPECT_TRUE(contains(message, "heirlock: ")) << message;
  EXPECT_TRUE(contains(message.substr(0, message.find("; ")), happened)) << message;
  EXPECT_TRUE(contains(message, "; " + advice)) << message;
}

std::string my_pid_namespace() {
  ReentrantLock lock;
  lock.lock();
  lock.unlock();
  return std::to_string(fields_of(lock).pid_namespace.load(heirlock::detail::Order::relaxed));
}

// Spec: lock.error.message
TEST_P(BetweenParties, a_release_by_a_stranger_names_the_owner_and_the_caller) {
  static_cast<void>(lock->acquire());
  const std::string owner = std::to_string(my_tid());
  other([&] {
    const std::string caller = std::to_string(my_tid());
    const std::string message = message_of([&] { lock->release(); });
    expect_a_helpful(message,
                     "release(): thread " + caller + " does not own the lock: thread " + owner + " does",
                     "call it once per acquire, in the thread that acquired; a forked child owns no lock");
  }).join();
  lock->release();
}

// Spec: lock.error.message
TEST_P(BetweenParties, a_release_of_a_free_lock_says_that_it_is_free) {
  other([&] {
    expect_a_helpful(message_of([&] { lock->release(); }),
                     "thread " + std::to_string(my_tid()) + " does not own the lock: it is free",
                     "call it once");
  }).join();
}

// Spec: lock.error.message
TEST_P(BetweenParties, a_repair_by_a_stranger_names_the_owner_and_the_caller) {
  static_cast<void>(lock->acquire());
  const std::string owner = std::to_string(my_tid());
  other([&] {
    const std::string caller = std::to_string(my_tid());
    expect_a_helpful(message_of([&] { lock->repaired(); }),
                     "thread " + caller + " does not own the lock: thread " + owner + " does",
                     "call it once");
  }).join();
  lock->release();
}

// Spec: lock.error.message
TEST_P(BetweenParties, release_and_repair_tell_which_of_them_failed) {
  other([&] {
    EXPECT_TRUE(contains(message_of([&] { lock->release(); }), "release()"));
    EXPECT_TRUE(contains(message_of([&] { lock->repaired(); }), "repaired()"));
  }).join();
}

// Spec: lock.error.message
TEST(Message, too_deep_a_recursion_names_the_depth) {
  ReentrantLock lock;
  static_cast<void>(lock.acquire());
  fields_of(lock).depth.store(4294967295);
  expect_a_helpful(message_of([&] { static_cast<void>(lock.acquire()); }),
                   "acquire(): the caller holds the lock 4294967295 times already", "look for an acquire");
  fields_of(lock).depth.store(1);
  lock.release();
}

// Spec: lock.error.message
TEST(Message, a_foreign_pid_namespace_is_named_and_the_callers_too) {
  ReentrantLock foreign;
  fields_of(foreign).pid_namespace.store(4294967294, heirlock::detail::Order::relaxed);
  const std::string message = message_of([&] { static_cast<void>(foreign.acquire()); });
  expect_a_helpful(
      message, "belongs to PID namespace 4294967294, the caller to " + my_pid_namespace(),
      "run all its users in one PID namespace; if a container was restarted over an old /dev/shm, "
      "run `heirlock clean`");
}

// Spec: lock.error.message
TEST(Message, memory_that_never_was_a_lock_is_said_to_be_none) {
  ReentrantLock ones, held;
  std::memset(static_cast<void*>(&ones), 0xff, sizeof ones);
  pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  ASSERT_EQ(pthread_mutex_lock(&mutex), 0);
  std::memcpy(static_cast<void*>(&held), &mutex, sizeof held);
  for (const auto& [none, found] :
       {std::pair(&ones, 4294967295U), std::pair(&held, std::uint32_t{my_tid()})}) {
    const std::string message = message_of([lock = none] { static_cast<void>(lock->acquire()); });
    expect_a_helpful(message,
                     "PID namespace " + std::to_string(found) + ", which cannot be (the caller's is " +
                         my_pid_namespace() + "): it never was a lock",
                     "if no process uses it");
  }
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

// Spec: lock.error.message
TEST(Message, a_timeout_that_is_not_a_number_is_told) {
  ReentrantLock lock;
  const duration<double> no_duration(std::numeric_limits<double>::quiet_NaN());
  expect_a_helpful(message_of([&] { static_cast<void>(lock.acquire_for(no_duration)); }),
                   "the timeout is not a number", "give a duration");
}

// --- What they are ---

// Spec: lock.error.category
TEST(Category, its_name_is_heirlock) {
  EXPECT_STREQ(heirlock::error_category().name(), "heirlock");
}

// Spec: lock.error.category
TEST(Category, an_errc_converts_to_an_error_code_of_it) {
  static_assert(std::is_error_code_enum_v<errc>);
  const std::error_code code = errc::recursion_too_deep;
  EXPECT_EQ(&code.category(), &heirlock::error_category());
  EXPECT_EQ(code.value(), static_cast<int>(errc::recursion_too_deep));
}

// Spec: lock.error.category
TEST(Category, every_errc_is_an_error_and_has_a_message_of_its_own) {
  const errc all[] = {errc::recursion_too_deep, errc::foreign_pid_namespace, errc::unsupported_platform,
                      errc::layout_mismatch, errc::not_trusted};
  for (const errc one : all) {
    EXPECT_TRUE(make_error_code(one));
    EXPECT_FALSE(contains(make_error_code(one).message(), "unknown"));
    for (const errc another : all)
      EXPECT_EQ(one == another, make_error_code(one).message() == make_error_code(another).message());
  }
}

// Spec: lock.error.category
TEST(Category, a_number_that_is_no_errc_has_a_message_that_names_it) {
  EXPECT_TRUE(contains(heirlock::error_category().message(4711), "4711"));
}

// Spec: lock.error.category
TEST(Category, an_assertion_error_is_a_logic_error) {
  EXPECT_TRUE((std::is_base_of_v<std::logic_error, AssertionError>));
}

// --- errno ---

constexpr int of_the_caller = 4711;  // no system call gives it

template <class Operation>
void expect_errno_kept_by(Operation operation) {
  errno = of_the_caller;
  operation();
  const int now = errno;
  EXPECT_EQ(now, of_the_caller);
}

// Spec: lock.error.errno
TEST_P(BetweenParties, the_first_acquire_of_a_thread_or_process_keeps_errno) {
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
    lock->release();
  }).join();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, queries_keep_errno) {
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->is_owned()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->depth()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->owner()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->needs_repair()); });
  }).join();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, operations_that_need_not_wait_keep_errno) {
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->try_acquire()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire_for(milliseconds(1))); });
    expect_errno_kept_by([&] { lock->repaired(); });
    while (lock->depth() > 0) expect_errno_kept_by([&] { lock->release(); });
  }).join();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, acquires_that_fail_keep_errno) {
  static_cast<void>(lock->acquire());
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->try_acquire()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire_for(milliseconds(3))); });
    expect_errno_kept_by(
        [&] { static_cast<void>(lock->acquire_until(std::chrono::system_clock::now() + milliseconds(3))); });
  }).join();
  lock->release();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, a_wait_of_many_sleeps_keeps_errno) {
  static_cast<void>(lock->acquire());
  other([&] {
    // Longer than the first sleep: it asks whether the owner still lives.
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire_for(milliseconds(70))); });
  }).join();
  lock->release();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, handing_the_lock_to_a_sleeper_keeps_the_errno_of_both) {
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
    expect_errno_kept_by([&] { lock->release(); });
  });
  waiter.wait_until_asleep_on(&*lock);
  expect_errno_kept_by([&] { lock->release(); });
}

// Spec: lock.error.errno
TEST_P(BetweenParties, both_forms_of_contended_release_keep_errno) {
  support::set_word(*lock, waiters_bit);
  other([&] {
    for (const std::uint32_t left : {waiters_bit, 0U}) {
      static_cast<void>(lock->acquire());
      expect_errno_kept_by([&] { lock->release(); });
      EXPECT_EQ(support::word_of(*lock), left);
    }
  }).join();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, sleeps_that_the_lock_ends_at_once_keep_errno) {
  // The word changes between the look at it and the sleep again and again.
  constexpr int rounds = 2000;
  const auto contend = [&] {
    for (int i = 0; i < rounds; ++i) {
      expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
      expect_errno_kept_by([&] { lock->release(); });
    }
  };
  Party one = other(contend), two = other(contend), three = other(contend);
}

// Spec: lock.error.errno
TEST_P(BetweenParties, what_throws_keeps_errno) {
  other([&] {
    expect_errno_kept_by([&] { EXPECT_THROW(lock->release(), AssertionError); });
    expect_errno_kept_by([&] { EXPECT_THROW(lock->repaired(), AssertionError); });
    expect_errno_kept_by([&] {
      EXPECT_THROW(static_cast<void>(lock->acquire_for(duration<double>(0.0) / 0.0)), std::invalid_argument);
    });
  }).join();
}

#if !HEIRLOCK_THREAD_SANITIZER  // which intercepts pthread_cancel's own signal in its own way
// --- Cancellation ---

// A thread that is to be cancelled ends at the first cancellation point that it comes to.
// Spec: lock.error.cancellation
TEST(Cancellation, waits_until_every_operation_is_over) {
  InSharedMemory<ReentrantLock> mine, others, inherited;
  bool got_through = false;
  static_cast<void>(others->acquire());
  std::thread([&] { static_cast<void>(inherited->acquire()); }).join();
  std::thread([&] {
    pthread_cancel(pthread_self());
    EXPECT_EQ(mine->acquire(), AcquireResult::acquired);
    EXPECT_EQ(mine->try_acquire(), AcquireResult::reentered);
    EXPECT_EQ(mine->depth(), 2U);
    EXPECT_EQ(others->try_acquire(), AcquireResult::not_acquired);
    EXPECT_EQ(others->acquire_for(milliseconds(20)), AcquireResult::not_acquired);
    EXPECT_THROW(others->release(), AssertionError);
    EXPECT_EQ(inherited->acquire(), AcquireResult::inherited);
    inherited->repaired();
    inherited->release();
    mine->release();
    mine->release();
    got_through = true;
    pthread_testcancel();
    ADD_FAILURE() << "it was not cancelled";
  }).join();
  EXPECT_TRUE(got_through);
  others->release();
}
#endif

}  // namespace
