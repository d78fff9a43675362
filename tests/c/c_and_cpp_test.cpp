// One lock, used through C and through C++.
#include <gtest/gtest.h>

#include <string>

#include "heirlock/heirlock.h"
#include "heirlock/lockable.hpp"
#include "support/segment_name.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::Shared;

namespace {

class CAndCpp : public testing::Test {
 protected:
  heirlock_outcome open() {
    return heirlock_segment_open(&segment, name.str().c_str(), sizeof(heirlock_lock), alignof(heirlock_lock),
                                 HEIRLOCK_LOCK_TYPE);
  }
  heirlock_lock* lock() { return static_cast<heirlock_lock*>(segment.object); }

  const support::SegmentName name;
  heirlock_segment segment{};
};

// Spec: c.interoperable
TEST_F(CAndCpp, a_named_lock_of_cpp_is_opened_from_c) {
  Shared<ReentrantLock> made = Shared<ReentrantLock>::create(name);
  ASSERT_EQ(open(), heirlock_done);
  EXPECT_EQ(made->acquire(), AcquireResult::acquired);
  EXPECT_EQ(heirlock_acquire(lock()), heirlock_reentered);
  EXPECT_EQ(heirlock_depth(lock()), 2U);
  EXPECT_EQ(heirlock_release(lock()), heirlock_done);
  made->release();
  EXPECT_EQ(heirlock_segment_close(&segment), heirlock_done);
  EXPECT_EQ(heirlock_segment_remove(name.str().c_str()), heirlock_done);
}

// Spec: c.interoperable
TEST_F(CAndCpp, a_segment_made_from_c_is_opened_from_cpp) {
  ASSERT_EQ(heirlock_segment_create(&segment, name.str().c_str(), sizeof(heirlock_lock),
                                    alignof(heirlock_lock), HEIRLOCK_LOCK_TYPE),
            heirlock_done);
  Shared<ReentrantLock> opened = Shared<ReentrantLock>::open(name);
  EXPECT_EQ(heirlock_acquire(lock()), heirlock_acquired);
  EXPECT_EQ(opened->owner(), heirlock_owner(lock()));
  EXPECT_EQ(heirlock_release(lock()), heirlock_done);
  EXPECT_EQ(heirlock_segment_close(&segment), heirlock_done);
  EXPECT_TRUE(Shared<ReentrantLock>::remove(name));
}

// Spec: c.layout
TEST(CLayout, the_lock_is_40_bytes_aligned_to_8_as_in_cpp) {
  EXPECT_EQ(sizeof(heirlock_lock), 40U);
  EXPECT_EQ(alignof(heirlock_lock), 8U);
  EXPECT_EQ(sizeof(heirlock_lock), sizeof(ReentrantLock));
  EXPECT_EQ(alignof(heirlock_lock), alignof(ReentrantLock));
}

}  // namespace
