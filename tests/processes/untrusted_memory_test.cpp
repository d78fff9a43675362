// Memory that is taken away or forged by one who may write it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <random>

#include "heirlock/lockable.hpp"
#include "heirlock/shared.hpp"
#include "support/acquire_result.hpp"
#include "support/libc_mutex.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"
#include "support/segment_name.hpp"
#include "support/shared_lock.hpp"
#include "support/shared_memory.hpp"

using heirlock::AcquireResult;
using heirlock::AssertionError;
using heirlock::errc;
using heirlock::ReentrantLock;
using heirlock::Shared;
using heirlock::detail::Order;
using heirlock::detail::owner_of;
using support::As;
using support::fields_of;
using support::Gate;
using support::my_tid;
using support::Party;
using support::SegmentName;
using support::SharedLock;
using support::word_of;

namespace {

// --- A segment that is shrunk while it is open

class Mortal {
 public:
  explicit Mortal(const std::function<void()>& body) : process_(fork()) {
    if (process_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core_file{0, 0};
    setrlimit(RLIMIT_CORE, &no_core_file);
    for (const int number : {SIGBUS, SIGABRT}) std::signal(number, SIG_DFL);  // a sanitizer would report it
    body();
    _exit(0);
  }
  /// Or by the message of a futex call, if that touches the lost page first.
  void expect_death_by_sigbus() {
    int status = 0;
    EXPECT_EQ(waitpid(process_, &status, 0), process_);
    EXPECT_TRUE(WIFSIGNALED(status) && (WTERMSIG(status) == SIGBUS || WTERMSIG(status) == SIGABRT))
        << "wait status " << status << ", expected death by SIGBUS or SIGABRT";
  }
  pid_t pid() const { return process_; }

 private:
  const pid_t process_;
};

class ShrunkSegment : public testing::Test {
 protected:
  void shrink(off_t size = 0) { ASSERT_EQ(truncate(name.path().c_str(), size), 0); }

  const SegmentName name;
  const Shared<ReentrantLock> lock = Shared<ReentrantLock>::create(name);
};

struct Touch {
  const char* name;
  void (*touch)(ReentrantLock& lock);
};
std::ostream& operator<<(std::ostream& out, const Touch& touch) {
  return out << touch.name;
}

class TouchOfAShrunkSegment : public ShrunkSegment, public testing::WithParamInterface<Touch> {};
INSTANTIATE_TEST_SUITE_P(
    By, TouchOfAShrunkSegment,
    testing::Values(Touch{"acquire", [](ReentrantLock& lock) { static_cast<void>(lock.acquire()); }},
                    Touch{"try_acquire", [](ReentrantLock& lock) { static_cast<void>(lock.try_acquire()); }},
                    Touch{"release", [](ReentrantLock& lock) { lock.release(); }},
                    Touch{"repaired", [](ReentrantLock& lock) { lock.repaired(); }},
                    Touch{"owner", [](ReentrantLock& lock) { static_cast<void>(lock.owner()); }}),
    testing::PrintToStringParamName());

// Spec: trust.shrunk
TEST_P(TouchOfAShrunkSegment, is_death_by_sigbus) {
  Mortal user([&] {
    static_cast<void>(lock->acquire());
    shrink();
    GetParam().touch(*lock);
  });
  user.expect_death_by_sigbus();
}

// Spec: trust.shrunk
TEST_F(ShrunkSegment, ends_who_sleeps_in_an_acquire) {
  Gate holds;
  Party owner(As::process, [&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    holds.open();
    for (;;) pause();
  });
  holds.wait();
  Mortal sleeper([&] { static_cast<void>(lock->acquire()); });
  support::wait_until_asleep_on(sleeper.pid(), lock.get());
  shrink();
  sleeper.expect_death_by_sigbus();
  owner.kill();
}

// The kernel's walk over the dead one's locks ends at memory that is not there: of what comes after, the
// others hear by the backstop.
// Spec: trust.shrunk-others, lock.inherit.missed
TEST_F(ShrunkSegment, leaves_the_other_locks_to_heirs) {
  for (const bool is_first : {false, true}) {
    SharedLock other;
    const Shared<ReentrantLock> mine = Shared<ReentrantLock>::open_or_create(name);
    Mortal user([&] {
      if (is_first) static_cast<void>(mine->acquire());
      static_cast<void>(other->acquire());
      if (!is_first) static_cast<void>(mine->acquire());
      shrink();
      mine->release();
    });
    user.expect_death_by_sigbus();
    EXPECT_EQ(other->acquire(), AcquireResult::inherited) << "is_first: " << is_first;
    Shared<ReentrantLock>::remove(name);
  }
}

// What is cut off within a page reads as zeros: a lock that is free, and not the caller's.
// Spec: trust.shrunk-within-page
TEST_F(ShrunkSegment, within_a_page_is_told_to_the_owner) {
  Party(As::process, [&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    shrink(256);
    EXPECT_FALSE(lock->is_owned());
    EXPECT_THROW(lock->release(), AssertionError);
  }).join();
}

// --- 40 bytes of somebody else's making

class ForgedLock : public testing::Test {
 protected:
  void SetUp() override {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    trap = mmap(nullptr, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(trap, MAP_FAILED);
  }
  void TearDown() override { munmap(trap, static_cast<std::size_t>(sysconf(_SC_PAGESIZE))); }

  // Any bytes, with links that must not be followed, and with a namespace that lets the caller pass, or not.
  void forge() {
    auto* const bytes = reinterpret_cast<unsigned char*>(&*lock);
    for (std::size_t i = 0; i < sizeof(ReentrantLock); ++i) bytes[i] = static_cast<unsigned char>(random());
    const std::uint32_t tids[] = {0, 1, my_tid(), owner_of(word_of(*lock)), heirlock::detail::owner_mask};
    support::set_word(*lock, (word_of(*lock) & ~heirlock::detail::owner_mask) | tids[random() % 5]);
    const std::uint32_t spaces[] = {0, of_caller, of_caller, static_cast<std::uint32_t>(random())};
    fields_of(*lock).pid_namespace.store(spaces[random() % 4], Order::relaxed);
    fields_of(*lock).prev.store(reinterpret_cast<std::uintptr_t>(trap) + 64);
    fields_of(*lock).next.store(reinterpret_cast<std::uintptr_t>(trap) + 128);
  }

  // As an acquire may end: with the lock, without it, or refused for its namespace.
  template <class Acquire>
  void expect_an_end_of(Acquire acquire) {
    bool has_it = false;
    try {
      has_it = acquire() != AcquireResult::not_acquired;
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), errc::foreign_pid_namespace);
    }
    EXPECT_EQ(lock->is_owned(), has_it);
    EXPECT_EQ(lock->depth(), has_it ? 1U : 0U);
    if (has_it)
      lock->release();
    else
      EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_FALSE(lock->is_owned());
  }

  void learn_the_callers_namespace() {
    ReentrantLock any;
    any.lock();
    of_caller = fields_of(any).pid_namespace.load(Order::relaxed);
    any.unlock();
  }

  void* trap = nullptr;
  std::uint32_t of_caller = 0;
  std::mt19937 random{20240501};
  SharedLock lock;
};

// And it does no harm to another lock: the kernel's walk comes to it, without the backstop.
// Spec: trust.forged
TEST_F(ForgedLock, neither_holds_up_nor_misleads_who_wants_it) {
  SharedLock other;
  Party(As::process, [&] {
    learn_the_callers_namespace();
    EXPECT_EQ(other->acquire(), AcquireResult::acquired);
    for (int i = 0; i < 20'000; ++i) {
      forge();
      if (i % 64 != 0)
        expect_an_end_of([&] { return lock->try_acquire(); });
      else
        expect_an_end_of([&] { return lock->acquire_for(std::chrono::microseconds(50)); });
    }
  }).join();
  EXPECT_EQ(word_of(*other), heirlock::detail::owner_died_bit);
}

// It is a random number for each thread, so that who cannot read the lock's memory cannot name an owner.
// Spec: trust.forged
TEST_F(ForgedLock, with_the_callers_tid_is_not_its_own) {
  Party(As::process, [&] {
    forge();
    support::set_word(*lock, my_tid());
    EXPECT_FALSE(lock->is_owned());
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_THROW(lock->repaired(), AssertionError);
  }).join();
}

// The thread's list, on which a lock that is its own is looked for, has libc's mutexes too.
// Spec: trust.forged, lock.owner.copies
TEST_F(ForgedLock, like_a_mutex_of_the_callers_is_not_its_own) {
  support::InSharedMemory<pthread_mutex_t> mutex;
  Party(As::process, [&] {
    ASSERT_EQ(support::make_libc_mutex(*mutex, PTHREAD_MUTEX_RECURSIVE, true), 0);
    ASSERT_EQ(pthread_mutex_lock(&*mutex), 0);
    forge();
    std::memcpy(static_cast<void*>(&*lock), &*mutex, 24);  // all but its links
    fields_of(*lock).pid_namespace.store(0, Order::relaxed);
    EXPECT_EQ(fields_of(*lock).word.load(Order::relaxed), my_tid());
    EXPECT_FALSE(lock->is_owned());
    EXPECT_THROW(lock->release(), AssertionError);
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
    lock->release();
    EXPECT_EQ(pthread_mutex_unlock(&*mutex), 0);
  }).join();
}

}  // namespace
