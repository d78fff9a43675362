// Two plug-ins that each have vendored the library, in C++: compilers and loaders differ in which of its
// variables the two then share (g++ makes them unique in the process, hidden or not).
#include <gtest/gtest.h>

#include <thread>
#include <utility>

#include "heirlock/lockable.hpp"
#include "support/child.hpp"
#include "support/loaded_library.hpp"
#include "support/segment_name.hpp"
#include "support/shared_memory.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;

namespace {

class PlugIn {
 public:
  explicit PlugIn(const char* path) {
    const support::LoadedLibrary library(path);
    library.look_up("plug_in_try_acquire", try_acquire_);
    library.look_up("plug_in_release", release_);
    library.look_up("plug_in_use", use_);
  }
  AcquireResult try_acquire(ReentrantLock& lock) const {
    return static_cast<AcquireResult>(try_acquire_(&lock));
  }
  bool release(ReentrantLock& lock) const { return release_(&lock) == 1; }
  void use(const std::string& name) const { use_(name.c_str()); }

 private:
  int (*try_acquire_)(ReentrantLock*) = nullptr;
  int (*release_)(ReentrantLock*) = nullptr;
  void (*use_)(const char*) = nullptr;
};

class TwoPlugIns : public testing::Test {
 protected:
  const PlugIn one{PLUG_IN_ONE}, other{PLUG_IN_OTHER};
  support::InSharedMemory<ReentrantLock> lock, another;
};

// Spec: lock.owner.copies
TEST_F(TwoPlugIns, know_the_same_owner) {
  for (const auto& [first, second] : {std::pair(&one, &other), std::pair(&other, &one)}) {
    EXPECT_EQ(first->try_acquire(*lock), AcquireResult::acquired);
    EXPECT_EQ(second->try_acquire(*lock), AcquireResult::reentered);
    EXPECT_TRUE(first->release(*lock));
    EXPECT_TRUE(second->release(*lock));
    EXPECT_FALSE(first->release(*lock));
  }
}

// Spec: lock.owner.child, lock.owner.copies
TEST_F(TwoPlugIns, take_no_child_for_its_parent) {
  // Whose first call is through the one that the parent has not used, in a thread that the parent has not.
  for (const auto used : {&one, &other}) {
    const auto unused = used == &one ? &other : &one;
    EXPECT_EQ(used->try_acquire(*lock), AcquireResult::acquired);
    support::Child child(support::Birth::fork, [&] {
      std::thread([&] {
        EXPECT_EQ(unused->try_acquire(*another), AcquireResult::acquired);
        EXPECT_TRUE(unused->release(*another));
      }).join();
      for (const PlugIn* plug_in : {used, unused}) {
        EXPECT_FALSE(plug_in->release(*lock));
        EXPECT_EQ(plug_in->try_acquire(*lock), AcquireResult::not_acquired);
        EXPECT_FALSE(plug_in->release(*lock));
      }
    });
    child.join();
    EXPECT_TRUE(used->release(*lock));
  }
}

// Each copy counts its own handles; the last of one copy is not the last of the process.
// Spec: lockable.destroy-other, lock.owner.copies
TEST_F(TwoPlugIns, leave_the_programs_lock_held) {
  struct Object : heirlock::Lockable {
    explicit Object(std::string_view its_name) : Lockable(its_name) {}
  };
  const support::SegmentName name;
  Object object(name.str());
  object.acquire();
  one.use(name.str());
  other.use(name.str());
  EXPECT_TRUE(object.mutex().is_owned());
  EXPECT_FALSE(object.mutex().needs_repair());
  object.release();
}

}  // namespace
