// Named segments that hold something else than expected, or that somebody else has a hand in.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <complex>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <ostream>
#include <string>
#include <tuple>

#include "heirlock/lockable.hpp"
#include "heirlock/shared.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/segment_name.hpp"
#include "support/traced.hpp"

using heirlock::errc;
using heirlock::Shared;
using support::As;
using support::Party;
using support::refusal_of;
using support::says;
using support::SegmentName;
using support::Traced;

namespace {

constexpr uid_t nobody = 65534;

struct Account {
  std::int64_t owner = 7;
  std::int64_t balance = 9;
};
constexpr std::size_t header_size = 256;
constexpr std::size_t account_file_size = header_size + sizeof(Account);

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// Puts these bytes where the segment would be; only its owner may write them.
void write_file(const std::string& path, const std::string& bytes) {
  std::remove(path.c_str());
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  ASSERT_EQ(write(file, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  close(file);
}

std::string bytes_of_an_account() {
  const SegmentName name;
  const auto made = Shared<Account>::create(name);
  return read_file(name.path());
}

// All that the file system tells of what stands at a path, and what is in it.
struct Snapshot {
  explicit Snapshot(const std::string& path) {
    EXPECT_EQ(lstat(path.c_str(), &status), 0);
    if (S_ISREG(status.st_mode)) bytes = read_file(path);
    if (S_ISLNK(status.st_mode)) {
      char target[256] = {};
      EXPECT_GT(readlink(path.c_str(), target, sizeof target - 1), 0);
      bytes = target;
    }
  }
  friend bool operator==(const Snapshot& one, const Snapshot& two) {
    const auto all = [](const Snapshot& of) {
      const struct stat& is = of.status;
      return std::make_tuple(of.bytes, is.st_ino, is.st_mode, is.st_uid, is.st_nlink, is.st_size,
                             is.st_mtim.tv_sec, is.st_mtim.tv_nsec, is.st_ctim.tv_sec, is.st_ctim.tv_nsec);
    };
    return all(one) == all(two);
  }
  struct stat status = {};
  std::string bytes;
};

// --- Something else in the segment

class HostileSegment : public testing::Test {
 protected:
  // Refused alike by all that open; returns the message.
  template <class T = Account>
  std::string message_of_the_mismatch() const {
    const Snapshot before(name.path());
    const auto opening = refusal_of([&] { Shared<T>::open(name); });
    EXPECT_EQ(opening.code, errc::layout_mismatch) << opening.message;
    const auto opening_or_creating = refusal_of([&] { Shared<T>::open_or_create(name); });
    EXPECT_EQ(opening_or_creating.code, errc::layout_mismatch) << opening_or_creating.message;
    EXPECT_TRUE(Snapshot(name.path()) == before) << "the file was touched";
    return opening.message;
  }

  const SegmentName name;
};

struct Field {
  const char* name;
  std::size_t offset;
  std::size_t size;
  std::uint64_t value;  // what stands there instead
  const char* found;    // what the message says of it
  const char* expected;
};
std::ostream& operator<<(std::ostream& out, const Field& field) {
  return out << field.name;
}

class HeaderField : public HostileSegment, public testing::WithParamInterface<Field> {};
INSTANTIATE_TEST_SUITE_P(
    Fields, HeaderField,
    testing::Values(Field{"magic_first", 0, 1, 'H', "another program's file", "a segment of heirlock"},
                    Field{"magic_last", 7, 1, 'K', "another program's file", "a segment of heirlock"},
                    Field{"version_newer", 8, 4, 2, "layout version 2", "expected 1"},
                    Field{"version_older", 8, 4, 0, "layout version 0", "expected 1"},
                    Field{"object_offset", 12, 4, 72, "Account with object offset 72", "expected 256"},
                    Field{"object_size", 16, 8, 24, "Account with size 24", "expected 16"},
                    Field{"object_size_high_half", 20, 4, 1, "size 4294967312", "expected 16"},
                    Field{"object_alignment", 24, 8, 16, "Account with alignment 16", "expected 8"},
                    Field{"fingerprint", 32, 8, 1, "Account with fingerprint 1", "expected"},
                    Field{"file_size", 40, 8, 88, "Account with recorded file size 88", "expected 272"},
                    Field{"file_size_too_small", 40, 8, 72, "recorded file size 72", "expected 272"},
                    Field{"type_name_unprintable", 48, 4, 0x1b41, "type A?, expected", "Account"},
                    Field{"type_name_first", 48, 2, 'x', "type long long", "Account"},
                    Field{"type_name_last", 255, 1, 1, "Account", "Account"}),
    testing::PrintToStringParamName());

// Spec: shared.layout
TEST_P(HeaderField, that_differs_is_refused_and_named) {
  const Field& field = GetParam();
  std::string bytes = bytes_of_an_account();
  std::memcpy(bytes.data() + field.offset, &field.value, field.size);
  write_file(name.path(), bytes);
  EXPECT_TRUE(says(message_of_the_mismatch(), name.path(), field.found, field.expected));
}

// Spec: shared.layout
TEST_F(HostileSegment, of_another_type_is_refused_and_named) {
  const auto made = Shared<std::complex<double>>::create(name);
  EXPECT_TRUE(says(message_of_the_mismatch(),
                   "found type std::complex<double>, expected (anonymous namespace)::Account"));
  EXPECT_TRUE(says(message_of_the_mismatch<std::int32_t>(), "expected int")) << "of another size";
}

// The fingerprint is of the whole name.
// Spec: shared.layout
TEST_F(HostileSegment, of_a_long_type_that_begins_alike_is_refused) {
  const auto made = Shared<std::make_integer_sequence<int, 100>>::create(name);
  EXPECT_TRUE(says(message_of_the_mismatch<std::make_integer_sequence<int, 101>>(), "with fingerprint"));
}

// Shared and Lockable draw on the same names.
// Spec: shared.layout
TEST_F(HostileSegment, that_is_no_lock_refuses_a_lockable) {
  class Named : public heirlock::Lockable {
   public:
    explicit Named(std::string_view name) : Lockable(name) {}
  };
  const auto made = Shared<Account>::create(name);
  const auto refusal = refusal_of([&] { Named object(name); });
  EXPECT_EQ(refusal.code, errc::layout_mismatch);
}

// Spec: shared.layout
TEST_F(HostileSegment, of_another_length_is_refused) {
  const std::string bytes = bytes_of_an_account();
  ASSERT_EQ(bytes.size(), account_file_size);
  for (const std::size_t length : {0U, 1U, 47U, 255U, 256U, 271U}) {
    write_file(name.path(), bytes.substr(0, length));
    const std::string found = length < header_size ? "found a header of " : "with file size ";
    EXPECT_TRUE(says(message_of_the_mismatch(), found + std::to_string(length)));
  }
  for (const std::size_t more : {1U, 8U, 1U << 20}) {
    write_file(name.path(), bytes + std::string(more, '\0'));
    EXPECT_TRUE(says(message_of_the_mismatch(), "with file size " + std::to_string(account_file_size + more),
                     "expected 272"));
  }
  write_file(name.path(), bytes);
  EXPECT_EQ(Shared<Account>::open(name)->balance, 9) << "it is whole";
}

// Spec: shared.layout
TEST_F(HostileSegment, with_any_header_bit_flipped_is_refused) {
  const std::string whole = bytes_of_an_account();
  for (std::size_t bit = 0; bit < header_size * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    write_file(name.path(), bytes);
    message_of_the_mismatch();
  }
}

// Spec: shared.create, shared.remove
TEST_F(HostileSegment, of_garbage_is_taken_until_it_is_removed) {
  write_file(name.path(), "garbage");
  const Snapshot before(name.path());
  EXPECT_EQ(refusal_of([&] { Shared<Account>::create(name); }).code, std::errc::file_exists);
  EXPECT_TRUE(Snapshot(name.path()) == before);
  EXPECT_TRUE(Shared<Account>::remove(name));
  EXPECT_EQ(Shared<Account>::create(name)->owner, 7);
}

// --- Somebody else has a hand in it

struct Trap {
  const char* name;
  // Sets the trap at the first path; the second is that of a sound segment of the right type. Returns false
  // where the system does not let the caller.
  bool (*set)(const std::string& path, const std::string& sound);
  const char* what;
  const char* why;
};
std::ostream& operator<<(std::ostream& out, const Trap& trap) {
  return out << trap.name;
}

template <mode_t mode>
bool set_mode(const std::string& path, const std::string& sound) {
  return rename(sound.c_str(), path.c_str()) == 0 && chmod(path.c_str(), mode) == 0;
}

bool make_socket(const std::string& path, const std::string&) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int socket_file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int result = bind(socket_file, reinterpret_cast<sockaddr*>(&address), sizeof address);
  close(socket_file);
  return result == 0;
}

using Path = const std::string&;
const Trap traps[] = {
    {"symbolic_link", [](Path path, Path sound) { return symlink(sound.c_str(), path.c_str()) == 0; },
     "is a symbolic link", "not a segment"},
    {"dangling_symbolic_link",
     [](Path path, Path) { return symlink((path + ".nowhere").c_str(), path.c_str()) == 0; },
     "is a symbolic link", "not a segment"},
    {"directory", [](Path path, Path) { return mkdir(path.c_str(), 0700) == 0; }, "is a directory",
     "not a segment"},
    {"fifo", [](Path path, Path) { return mkfifo(path.c_str(), 0600) == 0; }, "is a FIFO", "not a segment"},
    {"character_device",
     [](Path path, Path) { return mknod(path.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0; }, "is a device",
     "not a segment"},
    {"block_device", [](Path path, Path) { return mknod(path.c_str(), S_IFBLK | 0600, makedev(7, 0)) == 0; },
     "is a device", "not a segment"},
    {"socket", make_socket, "is a socket", "not a segment"},
    {"hard_link", [](Path path, Path sound) { return link(sound.c_str(), path.c_str()) == 0; }, "is a file",
     "and has a second name"},
    {"group_writable", set_mode<0620>, "is a file", "so users other than its owner may write to it"},
    {"writable_by_others", set_mode<0602>, "is a file", "so users other than its owner may write to it"},
    {"writable_by_all", set_mode<0666>, "is a file", "so users other than its owner may write to it"},
    {"writable_by_one_more_user",
     [](Path path, Path sound) {
       // The access control list (acl(5)) of an owner, user 65534, the group, the mask, and all others.
       const unsigned char rights[] = {2,    0,   0,   0,   0x01, 0, 6, 0, 255, 255, 255, 255, 0x02, 0, 6, 0,
                                       0xfe, 255, 0,   0,   0x04, 0, 0, 0, 255, 255, 255, 255, 0x10, 0, 6, 0,
                                       255,  255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255};
       return rename(sound.c_str(), path.c_str()) == 0 &&
              setxattr(path.c_str(), "system.posix_acl_access", rights, sizeof rights, 0) == 0;
     },
     "is a file", "so users other than its owner may write to it"},
    {"of_another_user",
     [](Path path, Path sound) {
       return geteuid() == 0 && rename(sound.c_str(), path.c_str()) == 0 &&
              chown(path.c_str(), nobody, nobody) == 0;
     },
     "is a file of user 65534 with mode 0600",
     "neither the caller nor root (the caller is user 0); run as that user"},
};

class ATrap : public testing::TestWithParam<Trap> {
 protected:
  void SetUp() override {
    Shared<Account>::create(sound);
    if (!GetParam().set(name.path(), sound.path()))
      GTEST_SKIP() << "this system does not let user " << geteuid() << " make a " << GetParam().name
                   << "; run as root, with a tmpfs that knows access control lists";
  }

  const SegmentName name;
  const SegmentName sound;
};
INSTANTIATE_TEST_SUITE_P(Traps, ATrap, testing::ValuesIn(traps), testing::PrintToStringParamName());

// Spec: shared.trust, shared.create, lock.error.message
TEST_P(ATrap, is_not_trusted_and_left_as_it_is) {
  const Snapshot before(name.path());
  const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
  EXPECT_EQ(refusal.code, errc::not_trusted);
  EXPECT_TRUE(says(refusal.message, name.path(), GetParam().what, GetParam().why,
                   "use another name, or remove it only if no process uses it"));
  EXPECT_EQ(refusal_of([&] { Shared<Account>::open_or_create(name); }).code, errc::not_trusted);
  EXPECT_EQ(refusal_of([&] { Shared<Account>::create(name); }).code, std::errc::file_exists);
  EXPECT_TRUE(Snapshot(name.path()) == before);
}

// Opening a device or a FIFO has effects, so it is looked at first.
// Spec: shared.trust
TEST_P(ATrap, is_not_even_opened) {
  if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  Traced victim([&] { refusal_of([&] { Shared<Account>::open(name); }); });
  EXPECT_FALSE(victim.go_on_until_it_opens(name.path())) << "it was about to open it";
}

// --- What stands there changes meanwhile

// A name that is looked at and then opened may lead elsewhere by then.
class SwappedMeanwhile : public testing::Test {
 protected:
  void SetUp() override {
    if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  }

  // Sets the trap when a process that opens the segment has found it sound and is about to open it.
  void expect_refusal(const char* trap_name) {
    const auto* const trap = std::find_if(std::begin(traps), std::end(traps), [&](const Trap& one) {
      return trap_name == std::string(one.name);
    });
    ASSERT_NE(trap, std::end(traps));
    Shared<Account>::create(name);
    Shared<Account>::create(sound);
    Traced victim([&] {
      const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
      EXPECT_TRUE(says(refusal.message, name.path()));
    });
    ASSERT_TRUE(victim.go_on_until_it_opens(name.path()));
    ASSERT_EQ(std::remove(name.path().c_str()), 0);
    if (!trap->set(name.path(), sound.path())) GTEST_SKIP() << "not permitted here";
    EXPECT_TRUE(victim.finish());
  }

  const SegmentName name;
  const SegmentName sound;
};

// A FIFO must not be waited for, until somebody opens its other end.
class SwappedMeanwhileBy : public SwappedMeanwhile, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Trap, SwappedMeanwhileBy,
                         testing::Values("symbolic_link", "hard_link", "writable_by_others",
                                         "of_another_user", "fifo"),
                         [](const auto& trap) { return std::string(trap.param); });

// Spec: shared.trust
TEST_P(SwappedMeanwhileBy, is_refused) {
  expect_refusal(GetParam());
}

// The file that was opened counts, whatever the name leads to by then.
// Spec: shared.trust
TEST_F(SwappedMeanwhile, and_back_again_is_refused) {
  Shared<Account>::create(name);
  Shared<Account>::create(sound);
  Traced victim([&] { EXPECT_EQ(refusal_of([&] { Shared<Account>::open(name); }).code, errc::not_trusted); });
  ASSERT_TRUE(victim.go_on_until_it_opens(name.path()));
  const SegmentName aside;
  ASSERT_EQ(rename(name.path().c_str(), aside.path().c_str()), 0);
  ASSERT_TRUE(set_mode<0602>(name.path(), sound.path()));
  ASSERT_TRUE(victim.go_on());
  ASSERT_EQ(rename(aside.path().c_str(), name.path().c_str()), 0);
  EXPECT_TRUE(victim.finish());
}

// Spec: shared.layout
TEST_F(SwappedMeanwhile, by_less_of_the_file_is_refused) {
  Shared<Account>::create(name);
  Traced victim([&] {
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, errc::layout_mismatch);
    EXPECT_TRUE(says(refusal.message, "a header of 10 bytes", "expected 256"));
  });
  ASSERT_TRUE(victim.go_on_until_it_calls(SYS_pread64));
  ASSERT_EQ(truncate(name.path().c_str(), 10), 0);
  EXPECT_TRUE(victim.finish());
}

// Spec: shared.open
TEST_F(SwappedMeanwhile, by_nothing_is_missing) {
  Shared<Account>::create(name);
  Traced victim([&] {
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, std::errc::no_such_file_or_directory);
  });
  ASSERT_TRUE(victim.go_on_until_it_opens(name.path()));
  ASSERT_TRUE(Shared<Account>::remove(name));
  EXPECT_TRUE(victim.finish());
}

// --- Users

class AnotherUser : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  }

  static void as_nobody(const std::function<void()>& body) {
    Party(As::process, [&] {
      ASSERT_EQ(setresgid(nobody, nobody, nobody), 0);
      ASSERT_EQ(setresuid(nobody, nobody, nobody), 0);
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // changing the user took it back
      body();
    }).join();
  }

  const SegmentName name;
};

// Whoever may do so to a directory that all may write could take any segment's name away.
// Spec: trust.other-users
TEST_F(AnotherUser, moves_only_what_is_his) {
  struct stat status = {};
  ASSERT_EQ(stat("/dev/shm", &status), 0);
  EXPECT_EQ(status.st_uid, 0U);
  EXPECT_TRUE((status.st_mode & S_ISVTX) != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) == 0)
      << "mode " << std::oct << status.st_mode << "; mount /dev/shm with mode=1777";
}

// Spec: trust.other-users
TEST_F(AnotherUser, can_do_nothing_to_what_root_created) {
  const auto made = Shared<Account>::create(name);
  const Snapshot before(name.path());
  as_nobody([&] {
    const std::string path = name.path(), elsewhere = path + ".elsewhere";
    EXPECT_LT(open(path.c_str(), O_RDONLY | O_CLOEXEC), 0);
    EXPECT_LT(open(path.c_str(), O_WRONLY | O_CLOEXEC), 0);
    EXPECT_NE(truncate(path.c_str(), 0), 0);
    EXPECT_NE(chmod(path.c_str(), 0666), 0);
    EXPECT_NE(chown(path.c_str(), nobody, nobody), 0);
    EXPECT_NE(unlink(path.c_str()), 0);
    EXPECT_NE(rename(path.c_str(), elsewhere.c_str()), 0);
  });
  EXPECT_TRUE(Snapshot(name.path()) == before);
}

// He who comes first has the name: the others can be kept from using it, and no more than that.
// Spec: trust.squatted, shared.trust
TEST_F(AnotherUser, who_took_the_name_before_is_not_trusted) {
  as_nobody([&] { Shared<Account>::create(name); });
  const Snapshot before(name.path());
  EXPECT_EQ(refusal_of([&] { Shared<Account>::create(name); }).code, std::errc::file_exists);
  EXPECT_EQ(refusal_of([&] { Shared<Account>::open(name); }).code, errc::not_trusted);
  EXPECT_EQ(refusal_of([&] { Shared<Account>::open_or_create(name); }).code, errc::not_trusted);
  EXPECT_TRUE(Snapshot(name.path()) == before);
}

// As a server does that acts for a client, or as the client itself.
// Spec: shared.named, shared.trust
TEST_F(AnotherUser, has_segments_too) {
  const auto use = [&] {
    const auto made = Shared<Account>::create(name);
    EXPECT_EQ(Shared<Account>::open(name)->balance, 9);
    EXPECT_TRUE(Shared<Account>::remove(name));
  };
  Party(As::process, [&] {
    ASSERT_EQ(setresuid(0, nobody, 0), 0);
    use();
  }).join();
  as_nobody(use);
}

// Root's segments are trusted; whether they may be written is for the system to say.
// Spec: shared.trust
TEST_F(AnotherUser, cannot_open_what_root_created) {
  const auto made = Shared<Account>::create(name);
  as_nobody([&] {
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, std::errc::permission_denied);
    EXPECT_TRUE(says(refusal.message, name.path(), "of user 0 with mode 0600",
                     "may not both read and write it (the caller is user 65534); run as that user"));
  });
}

// Spec: shared.trust
TEST_F(AnotherUser, does_not_trust_what_a_third_user_owns) {
  const auto made = Shared<Account>::create(name);
  ASSERT_EQ(chown(name.path().c_str(), nobody - 1, nobody), 0);
  as_nobody([&] {
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, errc::not_trusted);
    EXPECT_TRUE(
        says(refusal.message, "of user 65533", "neither the caller nor root (the caller is user 65534)"));
  });
}

// Spec: shared.open
TEST_F(AnotherUser, cannot_open_what_he_made_read_only) {
  as_nobody([&] {
    const auto made = Shared<Account>::create(name);
    ASSERT_EQ(chmod(name.path().c_str(), 0400), 0);
    const auto refusal = refusal_of([&] { Shared<Account>::open(name); });
    EXPECT_EQ(refusal.code, std::errc::permission_denied);
    EXPECT_TRUE(says(refusal.message, name.path(), "of user 65534 with mode 0400", "chmod it to 600"));
  });
}

// Spec: shared.remove
TEST_F(AnotherUser, cannot_remove_what_root_created) {
  const auto made = Shared<Account>::create(name);
  as_nobody([&] {
    const auto refusal = refusal_of([&] { Shared<Account>::remove(name); });
    EXPECT_EQ(refusal.code, std::errc::operation_not_permitted);
    EXPECT_TRUE(
        says(refusal.message, "of user 0 with mode 0600", "(the caller is user 65534); run as that user"));
  });
  EXPECT_TRUE(name.is_taken());
}

}  // namespace
