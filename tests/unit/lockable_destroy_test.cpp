// What destroying a Lockable does to a lock that is held.
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

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

// Objects whose lock is in memory of the test's own, so that it can be looked at when they are gone.
class Destroying : public testing::TestWithParam<As> {
 protected:
  std::unique_ptr<Guarded> make() { return std::make_unique<Guarded>(*lock); }

  InSharedMemory<ReentrantLock> lock;
};
INSTANTIATE_TEST_SUITE_P(As, Destroying, support::each_kind_of_party, support::kind_name);

// Spec: lockable.destroy-held
TEST_F(Destroying, an_object_whose_lock_is_held_once_frees_it_with_its_flag_set) {
  auto object = make();
  object->acquire();
  object.reset();
  EXPECT_EQ(lock->owner(), 0);
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
  lock->release();
}

// Spec: lockable.destroy-held
TEST_F(Destroying, an_object_whose_lock_is_held_three_deep_frees_it_with_its_flag_set) {
  auto object = make();
  for (int i = 0; i < 4; ++i) object->acquire();
  object->release();
  object.reset();
  EXPECT_EQ(lock->owner(), 0);
  EXPECT_EQ(lock->acquire(), AcquireResult::inherited);
  lock->release();
}

// Spec: lockable.destroy-other
TEST_F(Destroying, an_object_whose_lock_is_free_leaves_the_flag_clear) {
  auto object = make();
  object->acquire();
  object->release();
  object.reset();
  EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
  lock->release();
}

// Spec: lockable.destroy-held
TEST_P(Destroying, an_object_whose_lock_is_held_lets_the_next_one_recover) {
  auto object = make();
  object->acquire();
  object.reset();
  Party(GetParam(), [&] {
    const auto next = make();
    next->acquire();
    EXPECT_EQ(next->recoveries(), 1);
    next->release();
  }).join();
}

// Spec: lockable.destroy-held
TEST_P(Destroying, an_object_whose_lock_is_held_lets_a_sleeping_waiter_in) {
  auto object = make();
  object->acquire();
  object->acquire();
  Party waiter(GetParam(), [&] {
    const auto next = make();
    next->acquire();
    EXPECT_EQ(next->recoveries(), 1);
    EXPECT_EQ(lock->depth(), 1U);
    next->release();
  });
  waiter.wait_until_asleep_on(&*lock);
  object.reset();
  waiter.join();
}

// Spec: lock.acquire.progress
TEST_F(Destroying, an_object_whose_lock_is_held_wakes_a_sleeper) {
  auto object = make();
  object->acquire();
  support::Waiter sleeper(*lock);
  object.reset();
  EXPECT_EQ(sleeper.result(), AcquireResult::inherited);
}

// The mapping of an anonymous lock goes with its object; a child has its own of the same memory.
// Spec: lockable.destroy-held
TEST(DestroyingAnAnonymousObject, whose_lock_is_held_lets_a_sleeping_child_in) {
  auto object = std::make_unique<Guarded>();
  for (int i = 0; i < 3; ++i) object->acquire();
  Party child(As::process, [&] {
    object->acquire();
    EXPECT_EQ(object->recoveries(), 1);
    object->release();
  });
  child.wait_until_asleep_on(&object->mutex());
  object.reset();
  child.join();
}

// The robust list must not lead into memory that is gone.
// Spec: lockable.destroy-held
TEST_P(Destroying, an_anonymous_object_whose_lock_is_held_leaves_the_threads_other_locks_inheritable) {
  Party(GetParam(), [&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    auto object = std::make_unique<Guarded>();
    object->acquire();
    object.reset();
  }).join();
  EXPECT_EQ(lock->owner(), 0);
  EXPECT_TRUE(lock->needs_repair());
}

// Spec: lockable.destroy-held
TEST_P(Destroying, an_object_whose_lock_was_inherited_and_is_held_lets_the_next_one_recover) {
  auto object = make();
  die_holding(*object);
  object->acquire();
  object.reset();
  Party(GetParam(), [&] {
    const auto next = make();
    next->acquire();
    EXPECT_EQ(next->recoveries(), 1);
    next->release();
  }).join();
}

// Spec: lockable.destroy-other
TEST(DestroyingAnAnonymousObject, in_a_child_changes_nothing_for_the_parent_that_holds_the_lock) {
  auto object = std::make_unique<Guarded>();
  object->acquire();
  Party(As::process, [&] { object.reset(); }).join();
  EXPECT_EQ(object->mutex().depth(), 1U);
  EXPECT_FALSE(object->mutex().needs_repair());
  Party(As::process, [&] { EXPECT_FALSE(object->acquire(false)); }).join();
  object->release();
}

// Spec: lockable.destroy-other
TEST_F(Destroying, an_object_over_a_placed_lock_in_a_child_changes_nothing_for_the_parent_that_holds_it) {
  auto object = make();
  object->acquire();
  Party(As::process, [&] { object.reset(); }).join();
  EXPECT_EQ(lock->depth(), 1U);
  EXPECT_FALSE(lock->needs_repair());
  object->release();
}

// Spec: lockable.destroy-other
TEST_P(Destroying, an_object_that_anothers_lock_was_waited_for_in_vain_changes_nothing) {
  auto object = make();
  object->acquire();
  Party(GetParam(), [&] {
    const auto same = make();
    EXPECT_FALSE(same->acquire(false));
  }).join();
  EXPECT_EQ(lock->depth(), 1U);
  EXPECT_FALSE(lock->needs_repair());
  object->release();
}

// Spec: lockable.destroy-held
TEST_P(Destroying, an_object_that_a_stranger_tried_to_release_frees_the_lock_that_it_holds) {
  auto object = make();
  object->acquire();
  Party(GetParam(), [&] { EXPECT_THROW(object->release(), heirlock::AssertionError); }).join();
  object.reset();
  EXPECT_EQ(lock->owner(), 0);
  EXPECT_TRUE(lock->needs_repair());
}

// --- Two objects over one lock
// --------------------------------------------------------------------------------

// Two objects over one lock in one process: placed, or opened by name, each in a mapping of its own.
enum class Over { placed_lock, name };
std::ostream& operator<<(std::ostream& out, Over over) {
  return out << (over == Over::name ? "name" : "placed_lock");
}

class DestroyingOneOfTwo : public testing::TestWithParam<Over> {
 protected:
  std::unique_ptr<Guarded> make() {
    return GetParam() == Over::name ? std::make_unique<Guarded>(name) : std::make_unique<Guarded>(*lock);
  }

  void expect_that_two_holds_it_once_and_whole() const {
    EXPECT_EQ(two->mutex().depth(), 1U);
    EXPECT_FALSE(two->mutex().needs_repair());
    two->release();
  }

  SegmentName name;
  InSharedMemory<ReentrantLock> lock;
  std::unique_ptr<Guarded> one = make();
  std::unique_ptr<Guarded> two = make();
};
INSTANTIATE_TEST_SUITE_P(Over, DestroyingOneOfTwo, testing::Values(Over::placed_lock, Over::name),
                         support::kind_name);

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_that_holds_it) {
  two->acquire();
  two->acquire();
  one.reset();
  EXPECT_EQ(two->mutex().depth(), 2U);
  EXPECT_FALSE(two->mutex().needs_repair());
  two->release();
  two->release();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_it_had_held_it_before) {
  one->acquire();
  one->acquire();
  one->release();
  one->release();
  two->acquire();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_it_reentered_meanwhile) {
  two->acquire();
  one->acquire();
  one->release();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_it_recovered_before) {
  die_holding(*two);
  one->acquire();
  one->release();
  two->acquire();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_its_own_recover_threw_before) {
  die_holding(*two);
  one->on_recover = [] { throw std::domain_error("beyond repair"); };
  EXPECT_THROW(one->acquire(), std::domain_error);
  two->acquire();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_a_thread_that_has_ended_held_it) {
  die_holding(*one, As::thread);
  two->acquire();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo,
       leaves_the_lock_to_the_other_also_when_it_reentered_after_a_thread_that_has_ended) {
  die_holding(*one, As::thread);
  two->acquire();
  one->acquire();
  one->release();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// A release through the wrong one of the two is a mistake that must not make another of its destruction.
// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_it_gave_back_what_the_other_had_acquired) {
  one->acquire();
  one->release();
  two->acquire();
  two->acquire();
  one->release();
  one.reset();
  expect_that_two_holds_it_once_and_whole();
}

// Spec: lockable.destroy-other
TEST_P(DestroyingOneOfTwo, leaves_the_lock_to_the_other_also_when_a_parent_held_it) {
  one->acquire();
  Gate released;
  Party child(As::process, [&] {
    released.wait();
    two->acquire();
    one.reset();
    EXPECT_EQ(two->mutex().depth(), 1U);
    EXPECT_FALSE(two->mutex().needs_repair());
    two->release();
  });
  one->release();
  released.open();
  child.join();
}

// A name in use must not cost the process a mapping for each object that comes and goes.
// Spec: shared.unmapped
TEST(DestroyingOneOfMany, ends_its_mapping_though_another_object_holds_the_lock) {
  const SegmentName name;
  const auto mappings = [&name] {
    std::ifstream file("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(file, line);)
      count += line.find(name.str()) != std::string::npos ? 1 : 0;
    return count;
  };
  Guarded holder(name);
  holder.acquire();
  const int before = mappings();
  {
    Guarded passing(name);
    EXPECT_EQ(mappings(), before + 1);
  }
  EXPECT_EQ(mappings(), before);
  holder.release();
}

// Spec: lock.error.errno
TEST(DestroyingOneOfMany, leaves_errno_alone_though_another_process_owns_the_lock) {
  const SegmentName name;
  Gate acquired, destroyed;
  Party owner(As::process, [&] {
    Guarded object(name);
    object.acquire();
    acquired.open();
    destroyed.wait();
    object.release();
  });
  acquired.wait();
  auto object = std::make_unique<Guarded>(name);
  static_cast<void>(object->mutex());
  errno = 0;
  object.reset();
  EXPECT_EQ(errno, 0);
  destroyed.open();
}

// Spec: lockable.destroy-held
TEST_P(DestroyingOneOfTwo, frees_the_lock_that_it_holds) {
  one->acquire();
  one.reset();
  EXPECT_EQ(two->mutex().owner(), 0);
  EXPECT_TRUE(two->mutex().needs_repair());
  two->acquire();
  EXPECT_EQ(two->recoveries(), 1);
  two->release();
}

// Spec: lockable.destroy-held
TEST_P(DestroyingOneOfTwo, frees_the_lock_that_it_holds_since_it_inherited_it) {
  die_holding(*two);
  one->acquire();
  one.reset();
  EXPECT_EQ(two->mutex().owner(), 0);
  EXPECT_TRUE(two->mutex().needs_repair());
}

// The owner's robust list leads to the lock at the address of the object that goes away.
// Spec: lockable.destroy-other
TEST(DestroyingANamedObject, leaves_the_lock_that_was_taken_through_it_and_is_held_through_another) {
  const SegmentName name;
  auto one = std::make_unique<Guarded>(name);
  Guarded two(name);
  one->acquire();
  two.acquire();
  one->release();
  one.reset();
  EXPECT_EQ(two.mutex().depth(), 1U);
  EXPECT_FALSE(two.mutex().needs_repair());
  Guarded().increment();  // takes its place on the list before the other, and gives it back
  two.release();
  Party(As::process, [&] {
    EXPECT_TRUE(two.acquire(false));
    EXPECT_EQ(two.recoveries(), 0);
    two.release();
  }).join();
}

// Spec: lock.inherit.death
TEST_P(Destroying, a_named_object_leaves_the_lock_that_was_taken_through_it_inheritable) {
  const SegmentName name;
  Guarded two(name);
  Party(GetParam(), [&] {
    ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
    auto one = std::make_unique<Guarded>(name);
    one->acquire();
    two.acquire();
    one->release();
    one.reset();
  }).join();
  EXPECT_EQ(two.mutex().owner(), 0);
  EXPECT_TRUE(two.mutex().needs_repair());
  EXPECT_EQ(lock->owner(), 0) << "it stands behind the other on the list";
  EXPECT_TRUE(lock->needs_repair());
}

// Spec: lockable.destroy-other
TEST(DestroyingANamedObject, leaves_the_lock_that_another_thread_took_through_it_and_holds_through_another) {
  const SegmentName name;
  auto one = std::make_unique<Guarded>(name);
  Guarded two(name);
  Gate held, destroyed;
  Party thread(As::thread, [&] {
    one->acquire();
    two.acquire();
    one->release();
    held.open();
    destroyed.wait();
    EXPECT_EQ(two.mutex().depth(), 1U);
  });
  held.wait();
  one.reset();
  destroyed.open();
  thread.join();
  EXPECT_EQ(two.mutex().owner(), 0);
  EXPECT_TRUE(two.mutex().needs_repair());
}

// Spec: shared.unmapped
TEST(DestroyingANamedObject, ends_its_mapping_when_no_thread_of_the_process_holds_the_lock) {
  const SegmentName name;
  Guarded two(name);
  two.acquire();
  Party(As::process, [&] {
    auto one = std::make_unique<Guarded>(name);
    const ReentrantLock* const address = &one->mutex();
    EXPECT_FALSE(one->acquire(false));
    one.reset();
    EXPECT_FALSE(support::is_mapped(address));
  }).join();
  two.release();
}

// Spec: lockable.destroy-other
TEST(DestroyingANamedObject, that_reentered_a_lock_taken_through_another_leaves_it_there) {
  const SegmentName name;
  Guarded one(name);
  auto two = std::make_unique<Guarded>(name);
  one.acquire();
  two->acquire();
  two->release();
  two.reset();
  Party(As::process, [&] { EXPECT_FALSE(one.acquire(false)); }).join();
  EXPECT_EQ(one.mutex().depth(), 1U);
  one.release();
}

}  // namespace
