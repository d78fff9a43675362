// Named segments among processes and threads that mean well: create, open, open_or_create, remove.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

#include "heirlock/lockable.hpp"
#include "heirlock/shared.hpp"
#include "support/between_parties.hpp"
#include "support/mapping.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/segment_name.hpp"
#include "support/shared_memory.hpp"
#include "support/traced.hpp"

using heirlock::Shared;
using support::As;
using support::files_that_begin_with;
using support::Gate;
using support::InSharedMemory;
using support::is_mapped;
using support::Party;
using support::refusal_of;
using support::says;
using support::SegmentName;
using support::Traced;

namespace {

struct Point {
  int x = 1;
  int y = 2;
};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

class NamedSegment : public testing::TestWithParam<As> {
 protected:
  Party other(std::function<void()> body) const { return Party(GetParam(), std::move(body)); }

  SegmentName name;
};
INSTANTIATE_TEST_SUITE_P(As, NamedSegment, support::each_kind_of_party, support::kind_name);

// --- create()

// Spec: shared.named
TEST_F(NamedSegment, create_makes_an_object_from_its_arguments) {
  struct Aggregate {
    int number;
    char letter;
  };
  {
    const auto made = Shared<Aggregate>::create(name, 7, 'x');
    EXPECT_EQ(made->number, 7);
    EXPECT_EQ(made->letter, 'x');
  }
  Shared<Aggregate>::remove(name);
  EXPECT_EQ(*Shared<int>::create(name), 0);
}

// Spec: shared.create
TEST_F(NamedSegment, create_of_a_taken_name_is_refused) {
  const auto first = Shared<int>::create(name, 1);
  const int mappings = support::segment_mappings();
  const auto refusal = refusal_of([&] { Shared<int>::create(name, 2); });
  EXPECT_EQ(refusal.code, std::errc::file_exists);
  EXPECT_TRUE(says(refusal.message, name.path() + " exists already; open it"));
  EXPECT_EQ(refusal_of([&] { Shared<double>::create(name, 2.0); }).code, std::errc::file_exists);
  EXPECT_EQ(support::segment_mappings(), mappings);
  EXPECT_EQ(*first, 1);
  EXPECT_EQ(*Shared<int>::open(name), 1);
  EXPECT_EQ(files_that_begin_with(name), 1);
}

// --- open() and open_or_create()

// Spec: shared.named
TEST_P(NamedSegment, open_shares_what_create_made) {
  const auto made = Shared<Point>::create(name);
  other([&] {
    const auto opened = Shared<Point>::open(name);
    EXPECT_EQ(opened->y, 2);
    opened->x = 10;
  }).join();
  EXPECT_EQ(made->x, 10);
}

// Spec: shared.open
TEST_F(NamedSegment, open_of_a_missing_name_is_refused) {
  const auto refusal = refusal_of([&] { Shared<int>::open(name); });
  EXPECT_EQ(refusal.code, std::errc::no_such_file_or_directory);
  EXPECT_TRUE(says(refusal.message, "there is no segment " + name.path() + "; create it first"));
  EXPECT_EQ(files_that_begin_with(name), 0);
}

// Spec: shared.open-or-create
TEST_P(NamedSegment, open_or_create_opens_what_there_is) {
  struct Counted {
    explicit Counted(std::atomic<int>& made) : number(++made) {}
    int number;
  };
  InSharedMemory<std::atomic<int>> made{0};
  const auto first = Shared<Counted>::open_or_create(name, *made);
  other([&] { EXPECT_EQ(Shared<Counted>::open_or_create(name, *made)->number, 1); }).join();
  EXPECT_EQ(*made, 1);
}

// --- remove()

// Spec: shared.remove
TEST_P(NamedSegment, remove_leaves_the_segment_to_its_users) {
  EXPECT_FALSE(Shared<int>::remove(name));
  const auto made = Shared<int>::create(name, 1);
  Gate opened, removed;
  Party user = other([&] {
    const auto mine = Shared<int>::open(name);
    opened.open();
    removed.wait();
    *mine = 2;
  });
  opened.wait();
  EXPECT_TRUE(Shared<int>::remove(name));
  EXPECT_FALSE(Shared<int>::remove(name));
  EXPECT_FALSE(name.is_taken());
  EXPECT_EQ(*Shared<double>::create(name, 0.5), 0.5) << "a new segment, which may be another type's";
  removed.open();
  user.join();
  EXPECT_EQ(*made, 2);
}

// As after a logout under systemd's RemoveIPC, the file is gone and another program makes one of the name.
// Spec: shared.is-named
TEST_P(NamedSegment, a_handle_tells_that_its_name_leads_elsewhere) {
  const auto old = Shared<int>::create(name);
  other([&] { EXPECT_TRUE(old.is_named()); }).join();
  ASSERT_EQ(unlink(name.path().c_str()), 0);
  other([&] {
    EXPECT_FALSE(old.is_named());
    const auto made = Shared<int>::create(name);
    EXPECT_TRUE(made.is_named());
    EXPECT_FALSE(old.is_named());
  }).join();
  EXPECT_FALSE(Shared<int>().is_named());
}

// --- Atomic creation

struct Failing {
  explicit Failing(bool fails) {
    if (fails) throw std::domain_error("mine");
  }
  int number = 4;
};

// Spec: shared.atomic-creation
TEST_F(NamedSegment, an_object_whose_constructor_throws_leaves_nothing) {
  EXPECT_THROW(Shared<Failing>::create(name, true), std::domain_error);
  EXPECT_THROW(Shared<Failing>::open_or_create(name, true), std::domain_error);
  EXPECT_EQ(files_that_begin_with(name), 0);
  EXPECT_EQ(Shared<Failing>::create(name, false)->number, 4);
}

// An object whose construction another party can watch.
struct Slow {
  Slow(Gate& begun, Gate& go_on, int number_at_last) {
    begun.open();
    go_on.wait();
    number = number_at_last;
  }
  int number = 0;
};

// Spec: shared.atomic-creation
TEST_P(NamedSegment, an_object_under_construction_cannot_be_seen) {
  Gate begun, go_on;
  Party creator(GetParam(), [&] { Shared<Slow>::create(name, begun, go_on, 8); });
  begun.wait();
  EXPECT_EQ(refusal_of([&] { Shared<Slow>::open(name); }).code, std::errc::no_such_file_or_directory);
  EXPECT_EQ(files_that_begin_with(name), 0);
  EXPECT_FALSE(Shared<Slow>::remove(name));
  go_on.open();
  creator.join();
  EXPECT_EQ(Shared<Slow>::open(name)->number, 8);
}

// Spec: shared.create
TEST_P(NamedSegment, of_two_creators_the_first_to_finish_wins) {
  Gate begun, go_on;
  Party slow(GetParam(), [&] {
    const auto refusal = refusal_of([&] { Shared<Slow>::create(name, begun, go_on, 1); });
    EXPECT_EQ(refusal.code, std::errc::file_exists);
  });
  begun.wait();
  Gate at_once;
  at_once.open();
  Shared<Slow>::create(name, begun, at_once, 2);
  go_on.open();
  slow.join();
  EXPECT_EQ(Shared<Slow>::open(name)->number, 2);
}

// Spec: shared.open-or-create
TEST_P(NamedSegment, of_two_openers_both_share_the_firsts) {
  Gate begun, go_on;
  Party slow(GetParam(), [&] { EXPECT_EQ(Shared<Slow>::open_or_create(name, begun, go_on, 1)->number, 2); });
  begun.wait();
  Gate at_once;
  at_once.open();
  const auto fast = Shared<Slow>::create(name, begun, at_once, 2);
  go_on.open();
  slow.join();
  EXPECT_EQ(fast->number, 2);
}

// An object made from a text; the first to be made finds that another was faster.
struct Overtaken {
  Overtaken(const SegmentName& name, int& constructions, std::string text) : length(text.size()) {
    if (++constructions == 1) Shared<Overtaken>::create(name, name, constructions, text);
  }
  std::size_t length;
};

// The arguments are needed again, whole, when the faster one has been removed meanwhile.
// Spec: shared.open-or-create
TEST_F(NamedSegment, open_or_create_begins_again_after_a_removal) {
  if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  Traced creator([&] {
    int constructions = 0;
    EXPECT_EQ(Shared<Overtaken>::open_or_create(name, name, constructions, std::string(100, 'x'))->length,
              100U);
    EXPECT_EQ(constructions, 3);
  });
  ASSERT_TRUE(creator.go_on_until_it_opens(name.path()));
  ASSERT_TRUE(Shared<Overtaken>::remove(name));
  EXPECT_TRUE(creator.finish());
  EXPECT_EQ(Shared<Overtaken>::open(name)->length, 100U);
}

// --- What stands in /dev/shm

// Spec: shared.mode
TEST_F(NamedSegment, a_segment_is_its_owners_whatever_the_umask) {
  for (const mode_t mask : {0U, 022U, 0777U}) {
    const SegmentName another;
    Party(As::process, [&] {
      umask(mask);
      const auto made = Shared<int>::create(another, 6);
      EXPECT_EQ(*Shared<int>::open(another), 6);
    }).join();
    struct stat status = {};
    ASSERT_EQ(stat(another.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U) << "under umask " << std::oct << mask;
  }
}

// Spec: shared.layout
TEST_F(NamedSegment, fingerprints_leave_out_no_namespace_but_heirlocks_own) {
  using heirlock::detail::fingerprint_of;
  EXPECT_EQ(fingerprint_of("N8heirlock4v0_113ReentrantLockE"), 0x6bdc82c579eb60bdU);
  EXPECT_NE(fingerprint_of("N5mylib4v0_13RowE"), fingerprint_of("N5mylib3RowE"));
}

// --- Handles

// Spec: shared.unmapped
TEST_F(NamedSegment, a_mapping_ends_with_its_last_handle) {
  std::optional<Shared<int>> made(Shared<int>::create(name));
  std::optional<Shared<int>> opened(Shared<int>::open(name));
  const int* const address = opened->get();
  made.reset();
  EXPECT_TRUE(is_mapped(address));
  opened.reset();
  EXPECT_FALSE(is_mapped(address));
}

// Spec: shared.descriptors
TEST_F(NamedSegment, no_file_descriptor_stays_open) {
  const auto before = open_descriptors();
  const auto made = Shared<int>::create(name);
  const auto opened = Shared<int>::open(name);
  const auto again = Shared<int>::open_or_create(name);
  refusal_of([&] { Shared<int>::create(name); });
  refusal_of([&] { Shared<double>::open(name); });
  const SegmentName another;
  EXPECT_THROW(Shared<Failing>::create(another, true), std::domain_error);
  EXPECT_EQ(open_descriptors(), before);
}

// --- Descriptors

// Whether a program that the process ran now would have a file of /dev/shm open.
bool would_hand_on_a_descriptor(pid_t process) {
  const std::string proc = "/proc/" + std::to_string(process);
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fd")) {
    if (std::filesystem::read_symlink(entry).string().rfind("/dev/shm/", 0) != 0) continue;
    std::ifstream info(proc + "/fdinfo/" + entry.path().filename().string());
    std::string word;
    while (info >> word && word != "flags:") continue;
    int flags = 0;
    info >> std::oct >> flags;
    if ((flags & O_CLOEXEC) == 0) return true;
  }
  return false;
}

// Another thread may run a program at any moment.
// Spec: shared.descriptors
TEST_F(NamedSegment, no_file_descriptor_is_handed_on) {
  if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  Traced user([&] {
    Shared<int>::create(name);
    Shared<int>::open(name);
  });
  while (user.go_on()) EXPECT_FALSE(would_hand_on_a_descriptor(user.pid()));
  EXPECT_TRUE(user.finish());
}

// --- Names

template <class Operation>
bool is_bad_name(Operation&& operation) {
  try {
    operation();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

class Named : public heirlock::Lockable {
 public:
  explicit Named(std::string_view name) : Lockable(name) {}
};

void expect_that_each_operation_refuses(const std::string& name) {
  EXPECT_TRUE(is_bad_name([&] { Shared<int>::create(name); }));
  EXPECT_TRUE(is_bad_name([&] { Shared<int>::open(name); }));
  EXPECT_TRUE(is_bad_name([&] { Shared<int>::open_or_create(name); }));
  EXPECT_TRUE(is_bad_name([&] { Shared<int>::remove(name); }));
  EXPECT_TRUE(is_bad_name([&] { Named object(name); }));
  std::remove(("/dev/shm/heirlock." + name).c_str());  // what stands there if it was not refused
}

// A good name with a bad end.
class BadName : public testing::TestWithParam<std::string> {
 protected:
  ~BadName() override { std::remove(path.c_str()); }

  const SegmentName good;
  const std::string bad = good.str() + GetParam();
  const std::string path = good.path() + GetParam();  // the system reads it up to a NUL
};
using namespace std::string_literals;
INSTANTIATE_TEST_SUITE_P(Ends, BadName,
                         testing::Values(std::string(200, 'x'), std::string(100'000, 'x'), "/"s, "/b"s,
                                         "/../outside"s, "\0b"s, "\0"s, "two words"s, "tab\t"s, "line\n"s,
                                         "\x7f"s, "\xc3\xa4"s, "\xff"s, ":"s, "*"s, "~"s, "$HOME"s, "%"s,
                                         "\\"s));

// Spec: shared.names, lock.error.message
TEST_P(BadName, is_refused_by_each_operation) {
  expect_that_each_operation_refuses(bad);
  std::string message;
  try {
    Shared<int>::create(bad);
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  EXPECT_TRUE(says(message, "is not allowed; use 1 to 200 letters, digits, '.', '-' and '_'"));
  EXPECT_TRUE(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }))
      << "control characters would reach the terminal: " << message;
  struct stat status = {};
  EXPECT_NE(lstat(path.c_str(), &status), 0);
  EXPECT_EQ(files_that_begin_with(good), 0);
}

// Spec: shared.names
TEST_F(NamedSegment, names_have_1_to_200_characters) {
  const std::string longest = name.str() + std::string(200 - name.str().size(), 'x');
  const std::string every = name.str() + "._-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  for (const std::string& good : {longest, every}) {
    Shared<int>::create(good, 1);
    EXPECT_EQ(*Shared<int>::open(good), 1);
    EXPECT_TRUE(Shared<int>::remove(good));
  }
  expect_that_each_operation_refuses("");
  expect_that_each_operation_refuses(longest + "x");
}

}  // namespace
