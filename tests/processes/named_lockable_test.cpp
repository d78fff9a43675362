// Lockables of one name in one program and its children. Unrelated programs share one in tests/examples.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <string_view>
#include <utility>

#include "heirlock/lockable.hpp"
#include "support/between_parties.hpp"
#include "support/segment_name.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::Shared;
using support::As;
using support::Party;
using support::SegmentName;

namespace {

class Named : public heirlock::Lockable {
 public:
  explicit Named(std::string_view name) : Lockable(name) {}
  int recoveries = 0;

 private:
  void recover() override { ++recoveries; }
};

class NamedLockable : public testing::TestWithParam<As> {
 protected:
  Party other(std::function<void()> body) const { return Party(GetParam(), std::move(body)); }

  const SegmentName name;
};
INSTANTIATE_TEST_SUITE_P(As, NamedLockable, support::each_kind_of_party, support::kind_name);

// Spec: lockable.one-mapping
TEST_P(NamedLockable, shares_one_mapping_with_its_handles) {
  Named inherited(name);
  const auto expect_one_address = [&] {
    Named object(name);
    EXPECT_EQ(&object.mutex(), &inherited.mutex());
    EXPECT_EQ(&object.mutex(), Shared<ReentrantLock>::open(name).get());
  };
  expect_one_address();
  other(expect_one_address).join();
  Named two(name);
  inherited.acquire();
  EXPECT_TRUE(two.acquire(false));
  two.release();
  two.release();
  EXPECT_EQ(inherited.mutex().owner(), 0);
}

// Spec: lockable.named, shared.is-named
TEST_F(NamedLockable, is_a_segment) {
  const auto created = Shared<ReentrantLock>::create(name);
  Named old(name);
  ASSERT_EQ(created->acquire(), AcquireResult::acquired);
  EXPECT_EQ(old.mutex().depth(), 1U);
  EXPECT_TRUE(old.is_named());
  EXPECT_TRUE(Shared<ReentrantLock>::remove(name));
  EXPECT_FALSE(old.is_named());
  EXPECT_EQ(Named(name).mutex().owner(), 0) << "a new lock of the same name";
  EXPECT_EQ(old.mutex().depth(), 1U);
  old.release();
}

// The flag is in the segment, and lives as long.
// Spec: lock.inherit.flag, lockable.recover
TEST_F(NamedLockable, remembers_a_death_while_nobody_has_it_open) {
  Party(As::process, [&] {
    Named object(name);
    object.acquire();
    _exit(testing::Test::HasFailure() ? 1 : 0);  // without the destructor, which would give the lock back
  }).join();
  Named heir(name);
  heir.acquire();
  EXPECT_EQ(heir.recoveries, 1);
  heir.release();
}

}  // namespace
