// Waiting: what interrupts it does not end it, and when a waiter sleeps, naps and steps aside.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include "heirlock/reentrant_lock.hpp"
#include "support/between_parties.hpp"
#include "support/lock_over.hpp"
#include "support/lock_probe.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::detail::waiters_bit;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using support::As;
using support::BetweenParties;
using support::InSharedMemory;
using support::Party;

namespace {

std::atomic<int>* handled;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler uses it");

// Between threads and between processes: a waiter whom signals interrupt, and who does not ask the kernel to
// restart what they interrupted.
class Interrupted : public BetweenParties {
 protected:
  Interrupted() {
    handled = &*count;
    struct sigaction action = {};
    action.sa_handler = [](int) { ++*handled; };
    action.sa_flags = 0;  // not SA_RESTART
    EXPECT_EQ(sigaction(SIGUSR1, &action, &before), 0);
    static_cast<void>(lock->acquire());
  }
  ~Interrupted() override {
    if (lock->is_owned()) lock->release();
    EXPECT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  }

  // Does nothing to a thread that has just ended.
  void interrupt(const Party& party) const {
    const pid_t process = GetParam() == As::thread ? getpid() : party.tid();
    syscall(SYS_tgkill, process, party.tid(), SIGUSR1);
  }

  InSharedMemory<std::atomic<int>> count;

 private:
  struct sigaction before = {};
};
INSTANTIATE_TEST_SUITE_P(As, Interrupted, support::each_kind_of_party, support::kind_name);

// Spec: lock.acquire.signal, lock.error.errno
TEST_P(Interrupted, waits_go_on_and_keep_errno) {
  constexpr int of_the_caller = 4711;  // no system call gives it
  for (const bool is_timed : {false, true}) {
    InSharedMemory<std::atomic<bool>> released;
    Party waiter = other([&] {
      errno = of_the_caller;
      const AcquireResult result = is_timed ? lock->acquire_for(minutes(10)) : lock->acquire();
      const int now = errno;
      EXPECT_EQ(now, of_the_caller);
      EXPECT_EQ(result, AcquireResult::acquired);
      EXPECT_TRUE(*released);
      lock->release();
    });
    for (int sent = 0; sent < 100; ++sent) {
      waiter.wait_until_asleep_on(&*lock);
      interrupt(waiter);
    }
    waiter.wait_until_asleep_on(&*lock);
    EXPECT_GT(*count, 0);
    *released = true;
    lock->release();
    waiter.join();
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  }
}

// The signals go on coming: if each began the wait anew, it would not end.
// Spec: lock.acquire.signal, lock.timeout.not-early, lock.timeout.ends
TEST_P(Interrupted, signals_neither_shorten_nor_prolong_a_timeout) {
  constexpr milliseconds timeout(130);
  InSharedMemory<std::atomic<bool>> is_over;
  for (int interruptions = 0; interruptions == 0;) {  // its time may be over before it is seen asleep
    *is_over = false;
    Party waiter = other([&] {
      const auto start = steady_clock::now();
      EXPECT_EQ(lock->acquire_for(timeout), AcquireResult::not_acquired);
      EXPECT_GE(steady_clock::now() - start, timeout);
      *is_over = true;
    });
    while (!*is_over)
      if (support::is_asleep_on(waiter.tid(), &*lock)) {
        interrupt(waiter);
        ++interruptions;
      }
  }
}

// A signal that comes between two slices of a wait does not end it; another follows.
// Spec: lock.acquire.interruptible
TEST_P(Interrupted, an_interruptible_wait_ends_at_a_signal) {
  other([&] {
    EXPECT_EQ(lock->acquire_interruptible_for(milliseconds(1)), AcquireResult::not_acquired);
  }).join();
  InSharedMemory<std::atomic<int>> ended;
  Party waiter = other([&] {
    EXPECT_EQ(lock->acquire_interruptible(), AcquireResult::not_acquired);
    ++*ended;
    EXPECT_EQ(lock->acquire_interruptible_for(minutes(10)), AcquireResult::not_acquired);
    ++*ended;
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);  // no signal ends this one
    EXPECT_EQ(lock->acquire_interruptible(), AcquireResult::reentered);
    lock->release();
    lock->release();
  });
  for (; *ended < 2; sched_yield())
    if (support::is_asleep_on(waiter.tid(), &*lock)) interrupt(waiter);
  waiter.wait_until_asleep_on(&*lock);
  const int handled_before = *count;
  interrupt(waiter);
  while (*count == handled_before) sched_yield();
  waiter.wait_until_asleep_on(&*lock);
  lock->release();
  waiter.join();
  EXPECT_EQ(lock->acquire_interruptible(), AcquireResult::acquired);
}

// --- What the Platform promises of it ---

using heirlock::detail::LinuxPlatform;

// Woken in vain, the others would take a processor from those that work.
// Spec: protocol.steps
TEST_P(BetweenParties, each_wake_up_is_for_one_sleeper) {
  InSharedMemory<LinuxPlatform::Atomic<std::uint32_t>> word;
  const auto sleep = [&] {
    EXPECT_EQ(LinuxPlatform::sleep(*word, 0, LinuxPlatform::for_ever), LinuxPlatform::Sleep::woken);
  };
  Party one = other(sleep), two = other(sleep), three = other(sleep);
  for (const Party* party : {&one, &two, &three}) party->wait_until_asleep_on(&*word);
  for (const int woken : {1, 1, 1, 0}) EXPECT_EQ(LinuxPlatform::wake_one(*word), woken);
}

// A wake-up for a waiter that naps on the word would be lost.
// Spec: protocol.pauses
TEST_P(BetweenParties, a_waiter_woken_in_vain_naps) {
  auto& word = support::LockOver<LinuxPlatform>(*lock).memory().word;
  static_cast<void>(lock->acquire());
  Party waiter = other([&] {
    static_cast<void>(lock->acquire());
    lock->release();
  });
  const auto naps = [&] {
    const void* const futex = support::futex_slept_on(waiter.tid());
    return futex != nullptr && futex != &*lock;
  };
  bool has_napped = false;
  for (int tries = 1000; tries > 0 && !has_napped; --tries) {
    waiter.wait_until_asleep_on(&*lock);
    LinuxPlatform::wake_one(word);
    support::wait_until_asleep_in_futex(waiter.tid());
    const bool napped = naps();
    const int woken = LinuxPlatform::wake_one(word);
    has_napped = napped && woken == 0 && naps();  // else the nap may have ended meanwhile
  }
  EXPECT_TRUE(has_napped);
  lock->release();
}

// Spec: protocol.pauses
TEST_P(BetweenParties, a_woken_waiter_looks_before_it_naps) {
  InSharedMemory<LinuxPlatform::Atomic<std::uint32_t>> word;
  Party waiter = other([&] {
    LinuxPlatform::Thread me;
    LinuxPlatform::Patience patience(me);
    while (!patience.was_woken) {  // a slice may end first
      LinuxPlatform::wait(*word, 0, LinuxPlatform::for_ever, patience);
      EXPECT_FALSE(patience.has_napped);
    }
    LinuxPlatform::wait(*word, 0, LinuxPlatform::for_ever, patience);
    EXPECT_TRUE(patience.has_napped);
  });
  do waiter.wait_until_asleep_on(&*word);
  while (LinuxPlatform::wake_one(*word) == 0);
}

// Its sleepers are woken and never come, as if each had been stopped. The tenure's begin is set by hand; an
// owner that stepped aside counts its wake-ups anew.
// Spec: protocol.pauses
TEST_P(BetweenParties, an_owner_steps_aside_once_in_a_tenure) {
  heirlock::detail::LinuxHabits& habits = heirlock::detail::this_thread_record.habits;
  auto& word = support::LockOver<LinuxPlatform>(*lock).memory().word;
  const std::uint32_t held = support::my_tid() | waiters_bit;
  const auto sleep = [&] { LinuxPlatform::sleep(word, held, LinuxPlatform::for_ever); };
  static_cast<void>(lock->acquire());
  support::set_word(*lock, held);
  Party one = other(sleep), two = other(sleep);
  for (const Party* party : {&one, &two}) party->wait_until_asleep_on(&*lock);
  habits = {};
  lock->release();
  EXPECT_EQ(habits.woken, 1U);
  static_cast<void>(lock->acquire());
  lock->release();
  EXPECT_EQ(habits.woken, 2U);
  EXPECT_GT(habits.tenure_began, 0);

  // The wake-ups that it counts when it has retaken a marked lock, and released it without another.
  const auto woken_after_retaking = [&](ReentrantLock& taken) {
    support::set_word(taken, waiters_bit);
    static_cast<void>(taken.acquire());
    support::set_word(taken, support::my_tid());
    taken.release();
    return habits.woken;
  };
  habits.tenure_began = LinuxPlatform::deadline_after(nanoseconds(minutes(10)).count());
  EXPECT_EQ(woken_after_retaking(*lock), 2U) << "too early";
  habits.tenure_began = 0;
  InSharedMemory<ReentrantLock> another;
  EXPECT_EQ(woken_after_retaking(*another), 2U) << "another lock";
  const auto start = steady_clock::now();
  EXPECT_EQ(woken_after_retaking(*lock), 0U);
  EXPECT_GE(steady_clock::now() - start, nanoseconds(heirlock::detail::policy.aside));
  habits.woken = 1;
  EXPECT_EQ(woken_after_retaking(*lock), 1U) << "again";
}

// Each lies in the past, as after a long SIGSTOP, and the next one in the future: the thread asks once, and
// not once for each slice that it missed.
// Spec: lock.inherit.missed
TEST(Slices, double_up_to_a_second_from_now_on) {
  LinuxPlatform::Atomic<std::uint32_t> word;
  LinuxPlatform::Thread me;
  LinuxPlatform::Patience patience(me);
  patience.began = 1;
  for (const std::int64_t milliseconds : {100, 200, 400, 800, 1000, 1000}) {
    patience.slice_end = 1;
    const auto earliest = LinuxPlatform::deadline_after(milliseconds * 1'000'000);
    EXPECT_EQ(LinuxPlatform::wait(word, 0, LinuxPlatform::for_ever, patience),
              heirlock::detail::Wait::slice_ended);
    EXPECT_EQ(patience.slice, milliseconds * 1'000'000);
    EXPECT_GE(patience.slice_end, earliest);
    EXPECT_LE(patience.slice_end, LinuxPlatform::deadline_after(patience.slice));
  }
}

// Or the wait would last an hour.
// Spec: lock.timeout.ends
TEST(Slices, end_a_wait_no_later_than_its_deadline) {
  LinuxPlatform::Atomic<std::uint32_t> word;
  LinuxPlatform::Thread me;
  LinuxPlatform::Patience patience(me);
  patience.began = 1;
  patience.slice_end = LinuxPlatform::deadline_after(nanoseconds(std::chrono::hours(1)).count());
  const auto deadline = LinuxPlatform::deadline_after(1'000'000);
  while (!LinuxPlatform::has_passed(deadline))
    EXPECT_EQ(LinuxPlatform::wait(word, 0, deadline, patience), heirlock::detail::Wait::look_again);
}

}  // namespace
