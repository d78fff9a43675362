// Two copies of the library in one process: one linked in, and the shared one, loaded and seen by nobody
// else. So it is in a program whose plug-ins each bring a copy, or in Python beside a module in C++.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <thread>

#include "heirlock/heirlock.h"
#include "support/child.hpp"
#include "support/libc_mutex.hpp"
#include "support/loaded_library.hpp"
#include "support/segment_name.hpp"
#include "support/shared_memory.hpp"

namespace {

struct Copy {
  heirlock_outcome (*acquire)(heirlock_lock*);
  heirlock_outcome (*try_acquire)(heirlock_lock*);
  heirlock_outcome (*release)(heirlock_lock*);
  heirlock_outcome (*repaired)(heirlock_lock*);
  uint32_t (*depth)(const heirlock_lock*);
  heirlock_outcome (*open_or_create)(heirlock_segment*, const char*, uint64_t, uint64_t, const char*);
  heirlock_outcome (*close)(heirlock_segment*);
};

const Copy linked{&heirlock_acquire,      &heirlock_try_acquire, &heirlock_release,
                  &heirlock_repaired,     &heirlock_depth,       &heirlock_segment_open_or_create,
                  &heirlock_segment_close};

Copy load() {
  const support::LoadedLibrary library(SHARED_LIBRARY);
  Copy copy{};
  library.look_up("heirlock_acquire", copy.acquire);
  library.look_up("heirlock_try_acquire", copy.try_acquire);
  library.look_up("heirlock_release", copy.release);
  library.look_up("heirlock_repaired", copy.repaired);
  library.look_up("heirlock_depth", copy.depth);
  library.look_up("heirlock_segment_open_or_create", copy.open_or_create);
  library.look_up("heirlock_segment_close", copy.close);
  return copy;
}

class TwoCopies : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(linked.acquire, loaded.acquire) << "it is one copy"; }

  const Copy loaded = load();
  support::InSharedMemory<heirlock_lock> shared{heirlock_lock{}};
  heirlock_lock* const lock = &*shared;
};

// Spec: lock.owner.copies
TEST_F(TwoCopies, re_enter_through_either) {
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

// Of the locks that a copy took, the first that is found will do: above this one lie none of that copy's, but
// others, and libc's mutexes that inherit priority, to which marked links lead.
// Spec: lock.owner.copies, protocol.linking
TEST_F(TwoCopies, know_their_owner_beneath_whatever_it_locked_since) {
  heirlock_lock others[3] = {};
  pthread_mutex_t mutexes[2];
  for (pthread_mutex_t& mutex : mutexes)
    ASSERT_EQ(support::make_libc_mutex(mutex, PTHREAD_MUTEX_NORMAL, true, PTHREAD_PRIO_INHERIT), 0);
  EXPECT_EQ(linked.acquire(lock), heirlock_acquired);
  EXPECT_EQ(pthread_mutex_lock(&mutexes[0]), 0);
  for (heirlock_lock& other : others) EXPECT_EQ(loaded.acquire(&other), heirlock_acquired);
  EXPECT_EQ(pthread_mutex_lock(&mutexes[1]), 0);
  EXPECT_EQ(loaded.try_acquire(lock), heirlock_reentered);
  EXPECT_EQ(loaded.release(lock), heirlock_done);
  EXPECT_EQ(loaded.release(lock), heirlock_done);
  EXPECT_EQ(loaded.release(lock), heirlock_not_owner);
  for (heirlock_lock& other : others) EXPECT_EQ(linked.release(&other), heirlock_done);
  for (pthread_mutex_t& mutex : mutexes) EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
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

// A named lock, which each copy has mapped at an address of its own, under a lock that the thread took
// before.
class TwoCopiesWithAMappingEach : public TwoCopies {
 protected:
  void SetUp() override {
    TwoCopies::SetUp();
    ASSERT_EQ(open(linked, one), heirlock_done);
    ASSERT_EQ(open(loaded, other), heirlock_done);
    ASSERT_NE(one.object, other.object) << "it is one mapping";
  }
  void TearDown() override {
    linked.close(&one);
    loaded.close(&other);
    heirlock_segment_remove(name.str().c_str());
  }
  heirlock_outcome open(const Copy& copy, heirlock_segment& segment) const {
    return copy.open_or_create(&segment, name.str().c_str(), sizeof(heirlock_lock), alignof(heirlock_lock),
                               HEIRLOCK_LOCK_TYPE);
  }
  static heirlock_lock* lock_in(const heirlock_segment& segment) {
    return static_cast<heirlock_lock*>(segment.object);
  }

  const support::SegmentName name;
  heirlock_segment one{}, other{};
};

// Spec: lock.owner.copies
TEST_F(TwoCopiesWithAMappingEach, re_enter_and_release_in_any_order) {
  EXPECT_EQ(linked.acquire(lock), heirlock_acquired);
  for (const bool ends_with_the_other : {false, true}) {
    EXPECT_EQ(linked.acquire(lock_in(one)), heirlock_acquired);
    EXPECT_EQ(loaded.acquire(lock_in(other)), heirlock_reentered);
    EXPECT_EQ(loaded.depth(lock_in(other)), 2U);
    EXPECT_EQ((ends_with_the_other ? linked.release(lock_in(one)) : loaded.release(lock_in(other))),
              heirlock_done);
    EXPECT_EQ((ends_with_the_other ? loaded.release(lock_in(other)) : linked.release(lock_in(one))),
              heirlock_done);
    EXPECT_EQ(loaded.try_acquire(lock_in(other)), heirlock_acquired);
    EXPECT_EQ(linked.release(lock_in(one)), heirlock_done);
    EXPECT_EQ(linked.release(lock_in(one)), heirlock_not_owner);
  }
  EXPECT_EQ(linked.release(lock), heirlock_done);
}

// Spec: lock.owner.copies, lock.inherit.death, lock.inherit.many, lock.inherit.depth
TEST_F(TwoCopiesWithAMappingEach, inherit_all_that_a_killed_process_held) {
  support::Gate held;
  support::Child owner(support::Birth::fork, [&] {
    EXPECT_EQ(linked.acquire(lock), heirlock_acquired);
    EXPECT_EQ(linked.acquire(lock_in(one)), heirlock_acquired);
    EXPECT_EQ(loaded.acquire(lock_in(other)), heirlock_reentered);
    held.open();
    for (;;) pause();
  });
  held.wait();
  owner.kill();
  EXPECT_EQ(linked.try_acquire(lock), heirlock_inherited);
  EXPECT_EQ(linked.release(lock), heirlock_done);
  EXPECT_EQ(loaded.try_acquire(lock_in(other)), heirlock_inherited);
  EXPECT_EQ(loaded.release(lock_in(other)), heirlock_done);
}

}  // namespace
