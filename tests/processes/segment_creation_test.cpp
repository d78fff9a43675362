// Creating a named segment where there is no room for it, and by a process that is killed.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <string>

#include "heirlock/reentrant_lock.hpp"
#include "heirlock/shared.hpp"
#include "support/forbidden_call.hpp"
#include "support/own_mounts.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/segment_name.hpp"
#include "support/shared_memory.hpp"
#include "support/traced.hpp"

using heirlock::Shared;
using support::As;
using support::enter_own_mounts;
using support::files_that_begin_with;
using support::forbid;
using support::Gate;
using support::mount_tmpfs;
using support::Party;
using support::refusal_of;
using support::says;
using support::SegmentName;
using support::Traced;
using support::Where;

namespace {

struct alignas(512) Account {
  std::int64_t owner = 7;
  std::int64_t balance = 9;
};

// A large object whose construction touches none of its bytes.
struct Untouched {
  static constexpr std::size_t size = 64 * 1024;
  Untouched() {}
  char bytes[size];
};

// --- /dev/shm in all its conditions

class OwnMounts : public testing::Test {
 protected:
  void SetUp() override {
    if (!support::can_have_own_mounts())
      GTEST_SKIP() << "this system does not let user " << geteuid() << " mount a tmpfs";
  }

  // In a process whose /dev/shm is a new tmpfs with these options.
  static void with_dev_shm(const char* options, const std::function<void()>& body, unsigned long flags = 0) {
    Party(As::process, [&] {
      ASSERT_TRUE(enter_own_mounts());
      ASSERT_TRUE(mount_tmpfs("/dev/shm", options, flags));
      body();
    }).join();
  }

  static int files() {
    int count = -2;  // for . and ..
    DIR* const stream = opendir("/dev/shm");
    while (readdir(stream) != nullptr) ++count;
    closedir(stream);
    return count;
  }
  static fsblkcnt_t free_blocks() {
    struct statvfs status = {};
    EXPECT_EQ(statvfs("/dev/shm", &status), 0);
    return status.f_bfree;
  }
  static void fill() {
    const int file = open("/dev/shm/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const char page[4096] = {};
    while (write(file, page, sizeof page) > 0) continue;
    close(file);
    ASSERT_EQ(free_blocks(), 0U);
  }
};

// Spec: shared.system-error
TEST_F(OwnMounts, creating_what_has_no_room_is_refused) {
  with_dev_shm("size=32k", [] {
    const fsblkcnt_t before = free_blocks();
    const auto refusal = refusal_of([] { Shared<Untouched>::create("large"); });
    EXPECT_EQ(refusal.code, std::errc::no_space_on_device);
    EXPECT_TRUE(
        says(refusal.message, "no room for the 65792 bytes of /dev/shm/heirlock.large", "enlarge /dev/shm"));
    EXPECT_EQ(refusal_of([] { Shared<Untouched>::open_or_create("large"); }).code,
              std::errc::no_space_on_device);
    EXPECT_EQ(files(), 0);
    EXPECT_EQ(free_blocks(), before);
    fill();
    EXPECT_EQ(refusal_of([] { Shared<Account>::create("small"); }).code, std::errc::no_space_on_device);
    ASSERT_EQ(unlink("/dev/shm/filler"), 0);
    EXPECT_EQ(Shared<Account>::create("small")->balance, 9);
  });
}

// What was created must not fail later: nothing can report a page that is missing but SIGBUS.
// Spec: shared.system-error
TEST_F(OwnMounts, an_object_has_all_its_room) {
  with_dev_shm("size=128k", [] {
    const auto made = Shared<Untouched>::create("large");
    fill();
    std::memset(made->bytes, 'x', Untouched::size);
    EXPECT_EQ(Shared<Untouched>::open("large")->bytes[Untouched::size - 1], 'x');
  });
}

// Whatever is wrong with /dev/shm is told, and nothing is left there.
// Spec: shared.system-error
TEST_F(OwnMounts, creating_without_a_file_is_refused) {
  const auto refusal_to_create = [](const char* what) {
    const auto refusal = refusal_of([] { Shared<Account>::create("name"); });
    EXPECT_TRUE(says(refusal.message, "cannot create a file in /dev/shm", what));
    return refusal.code;
  };
  with_dev_shm("nr_inodes=1", [&] { EXPECT_EQ(refusal_to_create(""), std::errc::no_space_on_device); });
  with_dev_shm(
      "size=64k",
      [&] { EXPECT_EQ(refusal_to_create("that the caller may write to"), std::errc::read_only_file_system); },
      MS_RDONLY);
  with_dev_shm("size=64k,mode=0755", [&] {
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0) return;  // only root can become another user
    EXPECT_EQ(refusal_to_create("that the caller may write to"), std::errc::permission_denied);
    EXPECT_EQ(files(), 0);
  });
  Party(As::process, [&] {
    ASSERT_TRUE(enter_own_mounts());
    ASSERT_TRUE(mount_tmpfs("/dev", "size=64k"));
    EXPECT_EQ(refusal_to_create("mount a tmpfs"), std::errc::no_such_file_or_directory);
  }).join();
  Party(As::process, [&] {
    ASSERT_TRUE(enter_own_mounts());
    if (mount("sysfs", "/dev/shm", "sysfs", MS_RDONLY, nullptr) != 0) return;  // not for all users
    const std::error_code code = refusal_to_create("mount a tmpfs");
    EXPECT_TRUE(code == std::errc::operation_not_supported || code == std::errc::read_only_file_system);
  }).join();
}

// Spec: shared.named
TEST_F(OwnMounts, creating_needs_no_proc) {
  with_dev_shm("size=64k", [] {
    heirlock::ReentrantLock first;  // before Linux 6.11 a process needs /proc for its first lock
    first.lock();
    first.unlock();
    ASSERT_TRUE(mount_tmpfs("/proc", "size=4k"));
    EXPECT_EQ(Shared<Account>::create("name")->balance, 9);
    EXPECT_EQ(Shared<Account>::open("name")->balance, 9);
    EXPECT_EQ(refusal_of([] { Shared<Account>::create("name"); }).code, std::errc::file_exists);
  });
}

// A file system counts its files by itself: the same number may mean another file.
// Spec: shared.create
TEST_F(OwnMounts, one_name_in_two_mounts_is_two_segments) {
  with_dev_shm("size=64k", [] {
    const auto made = Shared<Account>::create("name");
    ASSERT_TRUE(mount_tmpfs("/dev/shm", "size=64k"));
    const auto other = Shared<Account>::create("name");
    EXPECT_NE(other.get(), made.get());
  });
}

// They lead nowhere else, as the name of the file does not begin with them.
// Spec: shared.names
TEST_F(OwnMounts, names_of_dots_are_names_like_others) {
  with_dev_shm("size=64k", [] {
    for (const char* const name : {".", "..", "...", "x"}) {
      Shared<Account>::create(name);
      EXPECT_EQ(Shared<Account>::open(name)->balance, 9);
      struct stat status = {};
      EXPECT_EQ(stat((std::string("/dev/shm/heirlock.") + name).c_str(), &status), 0);
    }
    EXPECT_EQ(files(), 4);
  });
}

// --- A system call that fails

struct Call {
  const char* name;
  long number;
  Where where = {};
};
std::ostream& operator<<(std::ostream& out, const Call& call) {
  return out << call.name;
}
const Call mmap_of_shared_memory{"mmap", SYS_mmap, {3, MAP_SHARED, MAP_SHARED}};
const Call mmap_of_a_handle{"mmap_of_a_handle", SYS_mmap, {1, ~511U, 0}};  // less than an Account's segment

class FailingCall : public testing::TestWithParam<Call> {
 protected:
  void SetUp() override {
    if (!support::can_forbid()) GTEST_SKIP() << "this system does not let a process confine itself";
  }

  const SegmentName name;
};
class CallOfCreate : public FailingCall {};
INSTANTIATE_TEST_SUITE_P(Calls, CallOfCreate,
                         testing::Values(Call{"fchmod", SYS_fchmod}, Call{"fallocate", SYS_fallocate},
                                         mmap_of_shared_memory, mmap_of_a_handle, Call{"linkat", SYS_linkat}),
                         testing::PrintToStringParamName());

// Spec: shared.atomic-creation, shared.system-error
TEST_P(CallOfCreate, that_fails_is_reported_and_leaves_nothing) {
  Party(As::process, [&] {
    ASSERT_TRUE(forbid(GetParam().number, GetParam().where));
    const auto refusal = refusal_of([&] { Shared<Account>::create(name); });
    EXPECT_EQ(refusal.code, std::errc::operation_not_permitted);
    EXPECT_TRUE(says(refusal.message, name.path()));
  }).join();
  EXPECT_EQ(files_that_begin_with(name), 0);
}

class CallOfOpen : public FailingCall {};
INSTANTIATE_TEST_SUITE_P(Calls, CallOfOpen,
                         testing::Values(Call{"openat", SYS_openat}, Call{"pread64", SYS_pread64},
                                         mmap_of_shared_memory, mmap_of_a_handle),
                         testing::PrintToStringParamName());

// Spec: shared.system-error
TEST_P(CallOfOpen, that_fails_is_reported_and_changes_nothing) {
  Shared<Account>::create(name);  // no handle stays, which the child would share
  Party(As::process, [&] {
    ASSERT_TRUE(forbid(GetParam().number, GetParam().where));
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, std::errc::operation_not_permitted);
    EXPECT_TRUE(says(refusal.message, name.path()));
  }).join();
  EXPECT_EQ(Shared<Account>::open(name)->balance, 9);
}

// --- A creator that is killed

// Spec: shared.killed-creator
TEST(KilledCreator, in_the_constructor_of_the_object_leaves_nothing) {
  struct NeverDone {
    explicit NeverDone(Gate& begun) {
      begun.open();
      Gate().wait();
    }
  };
  const SegmentName name;
  Gate begun;
  Party creator(As::process, [&] { Shared<NeverDone>::create(name, begun); });
  begun.wait();
  creator.kill();
  EXPECT_EQ(files_that_begin_with(name), 0);
}

enum class By { create, open_or_create };
std::ostream& operator<<(std::ostream& out, By by) {
  return out << (by == By::create ? "create" : "open_or_create");
}

class KilledAtEachSystemCall : public testing::TestWithParam<By> {};
INSTANTIATE_TEST_SUITE_P(By, KilledAtEachSystemCall, testing::Values(By::create, By::open_or_create),
                         testing::PrintToStringParamName());

// Others see a file change only when a system call changes it, so that a kill before and after each is a kill
// at each moment.
// Spec: shared.killed-creator
TEST_P(KilledAtEachSystemCall, a_creator_leaves_nothing_or_a_complete_segment) {
  if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  int left_nothing = 0;
  int left_a_segment = 0;
  bool ended = false;
  for (int stops = 1; !ended; ++stops) {
    const SegmentName name;
    Traced creator([&] {
      if (GetParam() == By::create)
        Shared<Account>::create(name);
      else
        Shared<Account>::open_or_create(name);
    });
    for (int stop = 0; stop < stops && !ended; ++stop) ended = !creator.go_on();
    creator.kill();
    if (!name.is_taken()) {
      ++left_nothing;
      EXPECT_EQ(files_that_begin_with(name), 0);
      EXPECT_EQ(Shared<Account>::create(name)->balance, 9);
      continue;
    }
    ++left_a_segment;
    EXPECT_EQ(files_that_begin_with(name), 1);
    const auto opened = Shared<Account>::open(name);
    EXPECT_EQ(opened->owner, 7);
    EXPECT_EQ(opened->balance, 9);
  }
  EXPECT_GT(left_nothing, 5) << "hardly any kill came before the segment was published";
  EXPECT_GT(left_a_segment, 1) << "no kill came after the segment was published";
}

}  // namespace
