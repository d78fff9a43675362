// What destroying a Lockable does to a lock that is held.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <ostream>

#include "heirlock/lockable.hpp"
#include "support/between_parties.hpp"
#include "support/mapping.hpp"
#include "support/party.hpp"
#include "support/segment_name.hpp"
#include "support/waiter.hpp"
#include "unit/guarded.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::As;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using support::SegmentName;

namespace {

enum class Kind { anonymous, named };
std::ostream& operator<<(std::ostream& out, Kind kind) {
  return out << (kind == Kind::named ? "named" : "anonymous");
}

// The process's last handle of its lock. A forked child has one of its own, through which it sees the lock
// when the parent has destroyed the parent's, and the other way round.
class DestroyingTheLast : public testing::TestWithParam<Kind> {
 protected:
  void acquire(int times) {
    while (times-- > 0) object->acquire();
  }

  const SegmentName name;
  std::unique_ptr<Guarded> object =
      GetParam() == Kind::named ? std::make_unique<Guarded>(name) : std::make_unique<Guarded>();
};
INSTANTIATE_TEST_SUITE_P(Kind, DestroyingTheLast, testing::Values(Kind::anonymous, Kind::named),
                         support::kind_name);

// The owner lives on: its death is not what frees the lock.
// Spec: lockable.destroy-held
TEST_P(DestroyingTheLast, frees_a_held_lock_with_its_flag_set) {
  Gate destroyed, seen;
  Party owner(As::process, [&] {
    acquire(3);
    object.reset();
    destroyed.open();
    seen.wait();
  });
  destroyed.wait();
  const bool inherited = object->acquire(false) && object->recoveries() == 1;
  seen.open();
  owner.join();
  EXPECT_TRUE(inherited);
}

// Spec: lockable.destroy-held, lock.acquire.progress
TEST_P(DestroyingTheLast, wakes_a_sleeper_that_inherits) {
  acquire(2);
  support::Waiter sleeper(object->mutex());
  object.reset();
  EXPECT_EQ(sleeper.result(), AcquireResult::inherited);
}

// The robust list must not lead into memory that is gone.
// Spec: lockable.destroy-held
TEST_P(DestroyingTheLast, leaves_the_owners_other_locks_inheritable) {
  InSharedMemory<ReentrantLock> other;
  Party(As::process, [&] {
    ASSERT_EQ(other->acquire(), AcquireResult::acquired);
    acquire(1);
    object.reset();
  }).join();
  EXPECT_EQ(other->acquire(), AcquireResult::inherited);
  other->release();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingTheLast, in_a_child_leaves_the_parents_lock) {
  acquire(1);
  Party(As::process, [&] { object.reset(); }).join();
  EXPECT_EQ(object->mutex().depth(), 1U);
  EXPECT_FALSE(object->mutex().needs_repair());
  Party(As::process, [&] { EXPECT_FALSE(object->acquire(false)); }).join();
  object->release();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingTheLast, leaves_another_threads_lock_mapped) {
  Gate held, destroyed;
  ReentrantLock& lock = object->mutex();
  Party owner(As::thread, [&] {
    acquire(1);
    held.open();
    destroyed.wait();
    EXPECT_EQ(lock.depth(), 1U);
    EXPECT_FALSE(lock.needs_repair());
    lock.release();
  });
  held.wait();
  object.reset();
  destroyed.open();
}

// The mapping that was left is the next handle's, and does not outlive it.
// Spec: lockable.destroy-other, lockable.one-mapping, shared.unmapped
TEST(DestroyingTheLastNamed, while_another_thread_holds_it_costs_one_mapping) {
  constexpr int rounds = 100;
  const SegmentName name;
  std::unique_ptr<Guarded> object;
  Gate opened, held, destroyed, released;
  const int before = support::segment_mappings();
  Party owner(As::thread, [&] {
    for (int i = 0; i < rounds; ++i) {
      opened.wait();
      ReentrantLock& lock = object->mutex();
      lock.lock();
      held.open();
      destroyed.wait();
      lock.unlock();
      released.open();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    object = std::make_unique<Guarded>(name);
    opened.open();
    held.wait();
    object.reset();
    destroyed.open();
    released.wait();
  }
  EXPECT_EQ(support::segment_mappings(), before + 1);
  Guarded(name).increment();
  EXPECT_EQ(support::segment_mappings(), before);
}

// Spec: shared.unmapped, lock.error.errno
TEST(DestroyingTheLastNamed, while_another_process_holds_the_lock_unmaps_it) {
  const SegmentName name;
  auto object = std::make_unique<Guarded>(name);
  object->acquire();
  Party(As::process, [&] {
    const int before = support::segment_mappings();
    errno = 0;
    object.reset();
    EXPECT_EQ(errno, 0);
    EXPECT_EQ(support::segment_mappings(), before - 1);
  }).join();
  object->release();
}

// Spec: lockable.destroy-other, lockable.one-mapping
TEST(DestroyingOneOfTwo, leaves_the_lock_that_is_held_through_both) {
  const SegmentName name;
  auto one = std::make_unique<Guarded>(name);
  Guarded two(name);
  one->acquire();
  two.acquire();
  one.reset();
  EXPECT_EQ(two.mutex().depth(), 2U);
  EXPECT_FALSE(two.mutex().needs_repair());
  two.release();
  Party(As::process, [&] { EXPECT_FALSE(two.acquire(false)); }).join();
  two.release();
  EXPECT_EQ(two.mutex().owner(), 0);
}

// Spec: lockable.destroy-other
TEST(DestroyingOneOverAPlacedLock, leaves_it_to_the_caller_that_holds_it) {
  ReentrantLock lock;
  {
    Guarded object(lock);
    object.acquire();
    object.acquire();
  }
  EXPECT_EQ(lock.depth(), 2U);
  EXPECT_FALSE(lock.needs_repair());
  lock.release();
  lock.release();
}

// Locks that a Lockable knows nothing of, whose memory the owner's robust list must not lead to any more.
// Spec: lockable.destroy-held
TEST(DestroyingTheLastShared, frees_the_held_locks_in_it) {
  struct Two {
    ReentrantLock one, other, free;
  };
  const SegmentName name;
  {
    const auto shared = heirlock::Shared<Two>::create(name);
    EXPECT_EQ(shared->one.acquire(), AcquireResult::acquired);
    EXPECT_EQ(shared->other.acquire(), AcquireResult::acquired);
    EXPECT_EQ(shared->other.acquire(), AcquireResult::reentered);
  }
  const auto shared = heirlock::Shared<Two>::open(name);
  EXPECT_EQ(shared->one.acquire(), AcquireResult::inherited);
  EXPECT_EQ(shared->other.try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(shared->free.try_acquire(), AcquireResult::acquired);
  shared->one.release();
  shared->other.release();
  shared->free.release();
}

// A handle in static storage can end in mid-program too.
// Spec: lockable.destroy-held
TEST(DestroyingTheLastShared, that_is_static_frees_the_lock_in_it) {
  const SegmentName name;
  static std::optional<heirlock::Shared<ReentrantLock>> handle;
  handle.emplace(heirlock::Shared<ReentrantLock>::create(name));
  EXPECT_EQ((*handle)->acquire(), AcquireResult::acquired);
  handle.reset();
  const auto shared = heirlock::Shared<ReentrantLock>::open(name);
  EXPECT_EQ(shared->acquire(), AcquireResult::inherited);
  shared->release();
}

}  // namespace
