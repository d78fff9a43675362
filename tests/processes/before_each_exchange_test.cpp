// What another does between the moment that an operation looks at the word and the moment that it exchanges
// it: of what only a race would reach, nothing is left to chance.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>

#include "heirlock/lockable.hpp"
#include "support/acquire_result.hpp"
#include "support/lock_probe.hpp"
#include "support/machine.hpp"
#include "support/shared_lock.hpp"
#include "support/traced.hpp"

using heirlock::AcquireResult;
using heirlock::detail::Order;
using heirlock::detail::owner_died_bit;
using heirlock::detail::owner_of;
using heirlock::detail::waiters_bit;
using support::fields_of;
using support::InSharedMemory;
using support::is_about_to_exchange;
using support::my_tid;
using support::set_word;
using support::SharedLock;
using support::Traced;
using support::word_of;

namespace {

class BeforeEachExchange : public testing::Test {
 protected:
  void SetUp() override {
    if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  }

  struct Round {
    std::function<void()> prepare;
    std::function<void()> operation;
    std::function<void()> check;
  };

  // Another process goes through rounds; in the one after k others, the caller does `meanwhile` just before
  // the operation's compare-exchange after k others. The last round is the one that has none left.
  void before_each_exchange_of(const Round& round, const std::function<void()>& meanwhile) {
    InSharedMemory<std::atomic<bool>> is_over, is_last;
    Traced other([&] {
      heirlock::ReentrantLock any;
      any.lock();  // from now on it knows who it is, and takes no steps to find out
      any.unlock();
      while (!*is_last && !HasFailure()) {
        round.prepare();
        *is_over = false;
        syscall(mark);
        round.operation();
        *is_over = true;
        round.check();
        syscall(mark);
      }
    });
    int rounds = 0;
    for (; !*is_last; ++rounds) {
      ASSERT_TRUE(other.go_on_until_it_calls(mark)) << "it failed after " << rounds << " rounds";
      for (int exchanges = -1; exchanges < rounds && !*is_over;) {
        ASSERT_TRUE(other.step());
        if (is_about_to_exchange(other.pid())) ++exchanges;
      }
      *is_last = is_over->load();
      meanwhile();
      ASSERT_TRUE(other.go_on_until_it_calls(mark));
      if (lock->is_owned()) lock->release();
    }
    EXPECT_TRUE(other.finish());
    EXPECT_GT(rounds, 1) << "no compare-exchange was stepped through";
  }

  // As a waiter does before it sleeps: only while the lock has an owner.
  void mark_waiter() {
    const std::uint32_t word = word_of(*lock);
    *waiter = owner_of(word) != 0 ? waiters_bit : 0;
    if (*waiter != 0) set_word(*lock, word | waiters_bit);
  }

  // And never used.
  void make_free(std::uint32_t word = 0) {
    while (lock->is_owned()) lock->release();
    set_word(*lock, word);
    fields_of(*lock).pid_namespace.store(0, Order::relaxed);
  }

  static constexpr long mark = SYS_sched_yield;
  SharedLock lock;
  InSharedMemory<std::atomic<std::uint32_t>> waiter;  // the bit that it has set in the word
};

// Spec: lock.inherit.repaired, lock.acquire.progress
TEST_F(BeforeEachExchange, of_repaired_a_waiter_may_mark_the_lock) {
  before_each_exchange_of({[&] {
                             make_free(owner_died_bit);
                             EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
                           },
                           [&] { lock->repaired(); }, [&] { EXPECT_EQ(word_of(*lock), my_tid() | *waiter); }},
                          [&] { mark_waiter(); });
}

// Spec: lockable.recover.throws, lock.acquire.progress
TEST_F(BeforeEachExchange, of_abandon_a_waiter_may_mark_the_lock) {
  using Algorithm = heirlock::detail::LockAlgorithm<heirlock::detail::LinuxPlatform>;
  before_each_exchange_of({[&] {
                             make_free();
                             EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
                           },
                           [&] { Algorithm::abandon(fields_of(*lock)); },
                           [&] { EXPECT_EQ(word_of(*lock), owner_died_bit | *waiter); }},
                          [&] { mark_waiter(); });
}

class TwoThatTry : public BeforeEachExchange, public testing::WithParamInterface<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Free, TwoThatTry, testing::Values(0, waiters_bit),
                         [](const testing::TestParamInfo<std::uint32_t>& word) {
                           return word.param == 0 ? "and_never_contended" : "and_marked";
                         });

// Both are the first to use the lock.
// Spec: lock.acquire.exclusion, lock.try.busy
TEST_P(TwoThatTry, do_not_both_get_the_lock) {
  InSharedMemory<std::atomic<bool>> mine, others;
  before_each_exchange_of(
      {[&] { make_free(GetParam()); }, [&] { *others = lock->try_acquire() == AcquireResult::acquired; },
       [&] {
         EXPECT_NE(*mine, *others) << "got by me: " << *mine << ", by the other: " << *others;
         EXPECT_EQ(lock->is_owned(), *others);
       }},
      [&] { *mine = lock->try_acquire() == AcquireResult::acquired; });
}

// Its thread id has come to the caller; its death was missed.
// Spec: lock.owner.thread-id-reuse, lock.acquire.progress
TEST_F(BeforeEachExchange, of_a_burial_a_waiter_may_mark_the_lock) {
  AcquireResult result{};
  before_each_exchange_of({[&] {
                             make_free();
                             fields_of(*lock).owner_id.store(4711, Order::relaxed);
                             set_word(*lock, my_tid());
                           },
                           [&] { result = lock->try_acquire(); },
                           [&] {
                             EXPECT_EQ(result, AcquireResult::inherited);
                             EXPECT_EQ(word_of(*lock), my_tid() | owner_died_bit | *waiter);
                           }},
                          [&] { mark_waiter(); });
}

// Spec: lock.timeout.ends, lock.acquire.progress
TEST_F(BeforeEachExchange, of_giving_up_the_lock_may_come) {
  set_word(*lock, 1);  // the owner is process 1
  Traced sleeper([&] {
    EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(200)), AcquireResult::acquired);
    EXPECT_EQ(word_of(*lock), my_tid() | waiters_bit);
  });
  ASSERT_TRUE(sleeper.go_on_until_it_calls(SYS_futex));
  do ASSERT_TRUE(sleeper.step());  // through its sleep, to its last look
  while (!is_about_to_exchange(sleeper.pid()));
  set_word(*lock, waiters_bit);
  EXPECT_TRUE(sleeper.finish());
}

// Spec: lock.acquire.exclusion, lock.inherit.missed
TEST_F(BeforeEachExchange, of_a_burial_a_namesake_may_take_it) {
  const std::uint32_t of_nobody = heirlock::detail::owner_mask;  // no thread has so great an id
  set_word(*lock, of_nobody);
  Traced other([&] {
    heirlock::ReentrantLock any;
    any.lock();
    any.unlock();
    support::let_the_next_try_ask();
    syscall(mark);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::not_acquired);
    EXPECT_EQ(word_of(*lock), of_nobody);
  });
  ASSERT_TRUE(other.go_on_until_it_calls(mark));
  ASSERT_TRUE(other.go_on_until_it_calls(SYS_get_robust_list));  // whether the owner lives
  fields_of(*lock).owner_id.store(4711, Order::relaxed);         // a new one does
  EXPECT_TRUE(other.finish());
}

}  // namespace
