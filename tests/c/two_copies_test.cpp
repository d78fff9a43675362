// Two copies of the library in one process: one linked in, and the shared one, loaded and seen by nobody
// else. So it is in a program whose plug-ins each bring a copy, or in Python beside a module in C++.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "heirlock/heirlock.h"
#include "support/child.hpp"
#include "support/shared_memory.hpp"

namespace {

struct Copy {
  heirlock_outcome (*acquire)(heirlock_lock*);
  heirlock_outcome (*try_acquire)(heirlock_lock*);
  heirlock_outcome (*release)(heirlock_lock*);
  heirlock_outcome (*repaired)(heirlock_lock*);
  uint32_t (*depth)(const heirlock_lock*);
};

const Copy linked{&heirlock_acquire, &heirlock_try_acquire, &heirlock_release, &heirlock_repaired,
                  &heirlock_depth};

template <class Function>
void look_up(void* library, const char* name, Function& function) {
  void* const found = dlsym(library, name);
  if (found == nullptr) std::abort();
  std::memcpy(&function, &found, sizeof found);
}

Copy load() {
  void* const library = dlopen(SHARED_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (library == nullptr) std::abort();
  Copy copy{};
  look_up(library, "heirlock_acquire", copy.acquire);
  look_up(library, "heirlock_try_acquire", copy.try_acquire);
  look_up(library, "heirlock_release", copy.release);
  look_up(library, "heirlock_repaired", copy.repaired);
  look_up(library, "heirlock_depth", copy.depth);
  return copy;
}

class TwoCopies : public testing::Test {
 protected:
  struct Counted {
    heirlock_lock lock;
    long count;
  };

  void SetUp() override { ASSERT_NE(linked.acquire, loaded.acquire) << "it is one copy"; }

  const Copy loaded = load();
  support::InSharedMemory<Counted> shared{Counted{}};
  heirlock_lock* const lock = &shared->lock;
};

// Spec: lock.owner.copies
TEST_F(TwoCopies, re_enter_through_either_what_was_acquired_through_the_other) {
  for (const auto& [first, second] : {std::pair(linked, loaded), std::pair(loaded, linked)}) {
    EXPECT_EQ(first.acquire(lock), heirlock_acquired);
    EXPECT_EQ(second.acquire(lock), heirlock_reentered);
    EXPECT_EQ(second.try_acquire(lock), heirlock_reentered);
    EXPECT_EQ(first.acquire(lock), heirlock_reentered);
    EXPECT_EQ(first.depth(lock), 4U);
    EXPECT_EQ(second.depth(lock), 4U);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(first.release(lock), heirlock_done);
    EXPECT_EQ(first.release(lock), heirlock_not_owner);
    EXPECT_EQ(second.release(lock), heirlock_not_owner);
  }
}

// Spec: lock.owner.copies
TEST_F(TwoCopies, release_in_any_order) {
  for (int order = 0; order < 16; ++order) {
    for (int i = 0; i < 4; ++i) ASSERT_GT((i % 2 != 0 ? linked : loaded).acquire(lock), 0);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(((order >> i) % 2 != 0 ? linked : loaded).release(lock), heirlock_done);
    std::thread([&] {
      EXPECT_EQ(linked.try_acquire(lock), heirlock_acquired);
      EXPECT_EQ(loaded.release(lock), heirlock_not_owner) << "this copy does not know the thread yet";
      EXPECT_EQ(linked.release(lock), heirlock_done);
    }).join();
  }
}

// Spec: lock.owner.copies, lock.acquire.exclusion
TEST_F(TwoCopies, tell_the_threads_of_two_processes_apart) {
  constexpr int rounds = 20'000;
  const auto count = [&](const Copy& outer, const Copy& inner) {
    for (int i = 0; i < rounds; ++i) {
      EXPECT_EQ(outer.acquire(lock), heirlock_acquired);
      EXPECT_EQ(inner.acquire(lock), heirlock_reentered);
      ++shared->count;
      EXPECT_EQ(outer.release(lock), heirlock_done);
      EXPECT_EQ(inner.release(lock), heirlock_done);
    }
  };
  const auto count_in_two_threads = [&] {
    std::thread other([&] { count(linked, loaded); });
    count(loaded, linked);
    other.join();
  };
  support::Child child(support::Birth::fork, count_in_two_threads);
  count_in_two_threads();
  child.join();
  EXPECT_EQ(shared->count, 4 * rounds);
}

// Spec: lock.owner.copies, lock.inherit.death, lock.inherit.depth
TEST_F(TwoCopies, inherit_what_a_killed_process_held_through_both) {
  support::Gate held;
  support::Child owner(support::Birth::fork, [&] {
    EXPECT_EQ(linked.acquire(lock), heirlock_acquired);
    EXPECT_EQ(loaded.acquire(lock), heirlock_reentered);
    held.open();
    for (;;) pause();
  });
  held.wait();
  EXPECT_EQ(loaded.try_acquire(lock), heirlock_not_acquired);
  owner.kill();
  EXPECT_EQ(loaded.acquire(lock), heirlock_inherited);
  EXPECT_EQ(linked.acquire(lock), heirlock_reentered);
  EXPECT_EQ(linked.repaired(lock), heirlock_done);
  EXPECT_EQ(linked.release(lock), heirlock_done);
  EXPECT_EQ(linked.release(lock), heirlock_done);
  EXPECT_EQ(linked.acquire(lock), heirlock_acquired);
  EXPECT_EQ(linked.release(lock), heirlock_done);
}

}  // namespace
