// Errors: what they say, what they are, and that errno stays the caller's.
#include <gtest/gtest.h>
#include <pthread.h>

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
using support::InSharedMemory;
using support::my_tid;
using support::Party;

namespace {

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
TEST_P(BetweenParties, a_strangers_calls_name_owner_and_caller) {
  static_cast<void>(lock->acquire());
  const std::string owner = std::to_string(my_tid());
  other([&] {
    const std::string caller = std::to_string(my_tid());
    const std::string of_release = message_of([&] { lock->release(); });
    const std::string of_repaired = message_of([&] { lock->repaired(); });
    const std::string happened = ": thread " + caller + " does not own the lock: thread " + owner + " does";
    expect_a_helpful(of_release, "release()" + happened, "only the thread that acquired may call it");
    expect_a_helpful(of_repaired, "repaired()" + happened, "only the thread that acquired may call it");
    EXPECT_TRUE(contains(of_release, "a forked child owns no lock")) << of_release;
  }).join();
  lock->release();
}

// Spec: lock.error.message
TEST_P(BetweenParties, a_release_of_a_free_lock_says_so) {
  other([&] {
    expect_a_helpful(message_of([&] { lock->release(); }),
                     "thread " + std::to_string(my_tid()) + " does not own the lock: it is free",
                     "only the thread that acquired may call it");
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
TEST(Message, names_both_pid_namespaces) {
  ReentrantLock foreign;
  fields_of(foreign).pid_namespace.store(4294967294, heirlock::detail::Order::relaxed);
  const std::string message = message_of([&] { static_cast<void>(foreign.acquire()); });
  expect_a_helpful(
      message, "belongs to PID namespace 4294967294, the caller to " + my_pid_namespace(),
      "run all its users in one PID namespace; if a container was restarted over an old /dev/shm, "
      "run `heirlock clean`");
}

// Spec: lock.error.message
TEST(Message, tells_memory_that_never_was_a_lock) {
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
TEST(Category, of_each_errc_is_heirlock) {
  static_assert(std::is_error_code_enum_v<errc>);
  const std::error_code code = errc::recursion_too_deep;
  EXPECT_EQ(&code.category(), &heirlock::error_category());
  EXPECT_EQ(code.value(), static_cast<int>(errc::recursion_too_deep));
  EXPECT_STREQ(code.category().name(), "heirlock");
  EXPECT_TRUE(contains(code.category().message(4711), "4711")) << "no errc has this number";
  static_assert(std::is_base_of_v<std::logic_error, AssertionError>);
}

// Spec: lock.error.category
TEST(Category, has_a_message_for_every_errc) {
  const errc all[] = {errc::recursion_too_deep, errc::foreign_pid_namespace, errc::unsupported_platform,
                      errc::layout_mismatch, errc::not_trusted};
  for (const errc one : all) {
    EXPECT_TRUE(make_error_code(one));
    EXPECT_FALSE(contains(make_error_code(one).message(), "unknown"));
    for (const errc another : all)
      EXPECT_EQ(one == another, make_error_code(one).message() == make_error_code(another).message());
  }
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
TEST_P(BetweenParties, operations_that_need_not_wait_keep_errno) {
  support::set_word(*lock, waiters_bit);
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });  // the first of a thread or process
    expect_errno_kept_by([&] { static_cast<void>(lock->try_acquire()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire_for(milliseconds(1))); });
    expect_errno_kept_by([&] { static_cast<void>(lock->is_owned()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->depth()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->owner()); });
    expect_errno_kept_by([&] { static_cast<void>(lock->needs_repair()); });
    expect_errno_kept_by([&] { lock->repaired(); });
    while (lock->depth() > 0) expect_errno_kept_by([&] { lock->release(); });
    EXPECT_EQ(support::word_of(*lock), waiters_bit);  // it made a call to wake one; the next wakes all
    static_cast<void>(lock->acquire());
    expect_errno_kept_by([&] { lock->release(); });
    EXPECT_EQ(support::word_of(*lock), 0U);
  }).join();
}

// Spec: lock.error.errno
TEST_P(BetweenParties, acquires_that_fail_keep_errno) {
  static_cast<void>(lock->acquire());
  other([&] {
    expect_errno_kept_by([&] { static_cast<void>(lock->try_acquire()); });
    // Longer than the first sleep: it asks whether the owner still lives.
    expect_errno_kept_by([&] { static_cast<void>(lock->acquire_for(milliseconds(70))); });
    expect_errno_kept_by(
        [&] { static_cast<void>(lock->acquire_until(std::chrono::system_clock::now() + milliseconds(3))); });
    expect_errno_kept_by([&] { EXPECT_THROW(lock->release(), AssertionError); });
    expect_errno_kept_by([&] { EXPECT_THROW(lock->repaired(), AssertionError); });
    expect_errno_kept_by([&] {
      EXPECT_THROW(static_cast<void>(lock->acquire_for(duration<double>(0.0) / 0.0)), std::invalid_argument);
    });
  }).join();
  lock->release();
}

// The word changes between the look at it and the sleep again and again, and sleepers are woken.
// Spec: lock.error.errno
TEST_P(BetweenParties, acquires_and_releases_of_a_crowd_keep_errno) {
  constexpr int rounds = 2000;
  const auto contend = [&] {
    for (int i = 0; i < rounds; ++i) {
      expect_errno_kept_by([&] { static_cast<void>(lock->acquire()); });
      expect_errno_kept_by([&] { lock->release(); });
    }
  };
  Party one = other(contend), two = other(contend), three = other(contend);
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
