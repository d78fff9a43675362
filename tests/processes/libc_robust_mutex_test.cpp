// A thread has one robust list, and libc's robust mutexes are on it as well. Whatever the order in which a
// thread locks and unlocks both kinds, at its death each is passed on if it was held, and left alone if it
// was not.
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/libc_mutex.hpp"
#include "support/party.hpp"
#include "support/shared_memory.hpp"

using heirlock::AcquireResult;
using support::As;
using support::InSharedMemory;
using support::Party;

namespace {

// libc's mutex that is robust and shared. One that inherits priority is marked in the links that lead to it.
class LibcMutex {
 public:
  explicit LibcMutex(int protocol) {
    EXPECT_EQ(support::make_libc_mutex(mutex_, PTHREAD_MUTEX_NORMAL, true, protocol), 0);
  }
  int lock() { return pthread_mutex_lock(&mutex_); }
  int unlock() { return pthread_mutex_unlock(&mutex_); }
  /// Whether the last owner died. Takes the mutex and gives it back, whole.
  bool was_left_by_the_dead() {
    const int error = pthread_mutex_trylock(&mutex_);
    EXPECT_TRUE(error == 0 || error == EOWNERDEAD) << "trylock gave " << error;
    if (error == EOWNERDEAD) {
      EXPECT_EQ(pthread_mutex_consistent(&mutex_), 0);
    }
    if (error == 0 || error == EOWNERDEAD) {
      EXPECT_EQ(unlock(), 0);
    }
    return error == EOWNERDEAD;
  }

 private:
  pthread_mutex_t mutex_;
};

// Two locks of each kind, called by one letter each: h and H are heirlocks, r and R robust mutexes, p and P
// robust mutexes that inherit priority.
class Locks {
 public:
  static constexpr std::size_t count = 6;
  static constexpr char letters[] = "hrpHRP";

  Locks()
      : mutexes_{LibcMutex(PTHREAD_PRIO_NONE), LibcMutex(PTHREAD_PRIO_INHERIT), LibcMutex(PTHREAD_PRIO_NONE),
                 LibcMutex(PTHREAD_PRIO_INHERIT)} {}

  bool lock(std::size_t i) {
    if (!is_heirlock(i)) return mutex(i).lock() == 0;
    return heirlock(i).acquire() == AcquireResult::acquired;
  }
  bool unlock(std::size_t i) {
    if (!is_heirlock(i)) return mutex(i).unlock() == 0;
    heirlock(i).release();
    return true;
  }
  /// Whether the last owner died. Takes the lock and gives it back, whole.
  bool was_left_by_the_dead(std::size_t i) {
    if (!is_heirlock(i)) return mutex(i).was_left_by_the_dead();
    const AcquireResult result = heirlock(i).try_acquire();
    EXPECT_TRUE(result == AcquireResult::acquired || result == AcquireResult::inherited) << result;
    if (result == AcquireResult::inherited) heirlock(i).repaired();
    if (heirlock(i).is_owned()) heirlock(i).release();
    return result == AcquireResult::inherited;
  }

 private:
  static bool is_heirlock(std::size_t i) { return i % 3 == 0; }
  heirlock::ReentrantLock& heirlock(std::size_t i) { return heirlocks_[i / 3]; }
  LibcMutex& mutex(std::size_t i) { return mutexes_[i / 3 * 2 + i % 3 - 1]; }

  std::array<heirlock::ReentrantLock, 2> heirlocks_;
  std::array<LibcMutex, 4> mutexes_;
};

// A program names a lock at each step: it is locked if it was not held, and unlocked if it was.
using Program = std::vector<std::size_t>;

std::string text_of(const Program& program) {
  std::string text;
  for (const std::size_t i : program) text += Locks::letters[i];
  return text;
}

// As the kernel would walk it.
std::size_t entries_on_my_robust_list() {
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  EXPECT_EQ(syscall(SYS_get_robust_list, 0, &head, &size), 0);
  const auto unmarked = [](const robust_list* link) {
    constexpr std::uintptr_t pi_mark = 1;
    return reinterpret_cast<const robust_list*>(reinterpret_cast<std::uintptr_t>(link) & ~pi_mark);
  };
  std::size_t entries = 0;
  for (const robust_list* at = unmarked(head->list.next); at != &head->list && entries < 100; ++entries)
    at = unmarked(at->next);
  return entries;
}

class LibcsRobustMutexes : public testing::Test {
 protected:
  // A process runs the program and ends holding what it then holds.
  void run(const Program& program) {
    SCOPED_TRACE("the program " + text_of(program));
    const pid_t process = fork();
    if (process == 0) {
      std::array<bool, Locks::count> held{};
      for (const std::size_t i : program) {
        if (!(held[i] ? locks->unlock(i) : locks->lock(i))) _exit(1);
        held[i] = !held[i];
      }
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(process, &status, 0), process);
    ASSERT_EQ(status, 0) << "a step failed";

    std::array<bool, Locks::count> held{};
    for (const std::size_t i : program) held[i] = !held[i];
    for (std::size_t i = 0; i < Locks::count; ++i)
      ASSERT_EQ(locks->was_left_by_the_dead(i), held[i]) << "lock " << Locks::letters[i];
  }

  InSharedMemory<Locks> locks;
};

// Spec: lock.inherit.death, lock.memory.node, protocol.linking
TEST_F(LibcsRobustMutexes, share_the_list_in_programs_at_random) {
  constexpr unsigned seed = 20250101;
  std::mt19937 random(seed);
  for (int number = 0; number < 400 && !HasFatalFailure(); ++number) {
    Program program(1 + random() % 40);
    for (std::size_t& step : program) step = random() % Locks::count;
    run(program);
  }
}

// Spec: lock.memory.node, protocol.linking
TEST_F(LibcsRobustMutexes, leave_the_list_in_any_order) {
  for (unsigned order = 0; order < 720; ++order) {
    Program held{0, 1, 2, 3, 4, 5}, unlocks;
    for (const std::size_t i : held) ASSERT_TRUE(locks->lock(i));
    for (unsigned rest = order; !held.empty(); rest /= static_cast<unsigned>(held.size() + 1)) {
      const auto next = held.begin() + rest % static_cast<unsigned>(held.size());
      unlocks.push_back(*next);
      held.erase(next);
      ASSERT_TRUE(locks->unlock(unlocks.back()));
      ASSERT_EQ(entries_on_my_robust_list(), held.size()) << text_of(unlocks);
    }
  }
}

// glibc alone has a link there that leads back.
// Spec: protocol.linking
TEST(TheListOfAnotherLibc, has_nothing_of_the_lock_before_its_head) {
  static struct {
    std::uintptr_t of_that_libc = 4711;
    robust_list_head head{};
  } memory;
  InSharedMemory<std::array<heirlock::ReentrantLock, 2>> locks;
  Party(As::process, [&] {
    memory.head.list.next = &memory.head.list;
    memory.head.futex_offset = -32;
    EXPECT_EQ(syscall(SYS_set_robust_list, &memory.head, sizeof memory.head), 0);
    for (heirlock::ReentrantLock& lock : *locks) EXPECT_EQ(lock.acquire(), AcquireResult::acquired);
    for (heirlock::ReentrantLock& lock : *locks) lock.release();
    EXPECT_EQ(memory.of_that_libc, 4711U);
    EXPECT_EQ(memory.head.list.next, &memory.head.list);
  }).join();
}

}  // namespace
