// A system that lacks what the lock is built on, or refuses it. The main process of this program uses no lock
// itself: what it forks begins as new.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/forbidden_call.hpp"
#include "support/lock_probe.hpp"
#include "support/own_mounts.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/shared_lock.hpp"
#include "support/traced.hpp"

using heirlock::AcquireResult;
using heirlock::errc;
using heirlock::ReentrantLock;
using support::As;
using support::forbid;
using support::Gate;
using support::InSharedMemory;
using support::Party;
using support::refusal_of;
using support::says;
using support::SharedLock;
using support::Traced;
using support::Where;

namespace {

class RefusingSystem : public testing::Test {
 protected:
  void SetUp() override {
    if (!support::can_forbid()) GTEST_SKIP() << "this system does not let a process confine itself (seccomp)";
  }

  // Each form of acquire is refused, and nothing changes. Returns the last message.
  std::string message_of_unsupported() const {
    const auto before = support::bytes_of(*lock);
    std::string message;
    const std::function<AcquireResult()> acquires[] = {
        [&] { return lock->acquire(); }, [&] { return lock->try_acquire(); },
        [&] { return lock->acquire_for(std::chrono::milliseconds(1)); }};
    for (const auto& acquire : acquires) {
      errno = 4711;
      const auto refusal = refusal_of([&] { static_cast<void>(acquire()); });
      EXPECT_EQ(errno, 4711);
      EXPECT_EQ(refusal.code, errc::unsupported_platform) << refusal.message;
      message = refusal.message;
    }
    EXPECT_EQ(support::bytes_of(*lock), before);
    return message;
  }
  static void in_a_new_process(const std::function<void()>& body) { Party(As::process, body).join(); }

  SharedLock lock;
};

struct Call {
  const char* name;
  long number;
  int error;
  Where where;
};
std::ostream& operator<<(std::ostream& out, const Call& call) {
  return out << call.name;
}

class WithoutTheCall : public RefusingSystem, public testing::WithParamInterface<Call> {};
constexpr Where wiping{2, ~0U, MADV_WIPEONFORK};  // a page in a child: the kernel cannot before 4.14
INSTANTIATE_TEST_SUITE_P(Call, WithoutTheCall,
                         testing::Values(Call{"get_robust_list", SYS_get_robust_list, EPERM, {}},
                                         Call{"set_robust_list", SYS_set_robust_list, EPERM, {}},
                                         Call{"gettid", SYS_gettid, EPERM, {}},
                                         Call{"getrandom", SYS_getrandom, ENOSYS, {}},
                                         Call{"madvise", SYS_madvise, EINVAL, wiping}),
                         testing::PrintToStringParamName());

// Spec: lock.error.unsupported, lock.error.unchanged, lock.owner.child
TEST_P(WithoutTheCall, no_acquire_is_possible) {
  in_a_new_process([&] {
    // As in a process that libc did not make: else nobody sets a list.
    ASSERT_EQ(syscall(SYS_set_robust_list, nullptr, sizeof(robust_list_head)), 0);
    ASSERT_TRUE(forbid(GetParam().number, GetParam().where, GetParam().error));
    EXPECT_TRUE(says(message_of_unsupported(), GetParam().name,
                     std::string(" failed: ") + std::strerror(GetParam().error),
                     "a sandbox that allows this call"));
  });
}

// Spec: lock.error.unsupported, lock.error.unchanged, lock.memory.node
TEST_F(RefusingSystem, with_another_robust_list_refuses_acquires) {
  in_a_new_process([&] {
    static robust_list_head other;
    other.list.next = &other.list;
    other.futex_offset = -24;
    ASSERT_EQ(syscall(SYS_set_robust_list, &other, sizeof other), 0);
    EXPECT_TRUE(says(message_of_unsupported(), "futexes at offset -24, glibc's at -32; use glibc"));
  });
}

// A child must be told from its parent by the page, so nothing goes without.
// Spec: lock.error.unchanged
TEST_F(RefusingSystem, without_memory_reports_the_systems_error) {
  const auto page = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
  in_a_new_process([&] {
    // At the first one that a process throws, a sanitizer takes a page for itself.
    EXPECT_THROW(lock->release(), heirlock::AssertionError);
    ASSERT_TRUE(forbid(SYS_mmap, Where{1, ~0U, page}, ENOMEM));
    const auto before = support::bytes_of(*lock);
    const auto refusal = refusal_of([&] { static_cast<void>(lock->acquire()); });
    EXPECT_EQ(refusal.code, std::errc::not_enough_memory);
    EXPECT_TRUE(says(refusal.message, "cannot map one page"));
    EXPECT_EQ(support::bytes_of(*lock), before);
  });
}

// --- Where the PID namespace cannot be seen
// --------------------------------------------------------------------

class WithoutProc : public RefusingSystem {
 protected:
  void SetUp() override {
    RefusingSystem::SetUp();
    if (IsSkipped()) return;
    if (!support::can_have_own_mounts())
      GTEST_SKIP() << "this system does not let user " << geteuid() << " hide /proc from a process";
  }
  // Since Linux 6.11, PIDFD_GET_PID_NAMESPACE of linux/pidfd.h.
  static bool can_ask_a_pidfd() {
    const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0U));
    const int space = ioctl(self, _IO(0xFF, 5), 0UL);
    close(self);
    return space >= 0 && close(space) == 0;
  }
  static void hide_proc() {
    ASSERT_TRUE(support::enter_own_mounts());
    ASSERT_TRUE(support::mount_tmpfs("/proc", "size=4k"));
  }
};

// Spec: lock.owner.pid-namespace
TEST_F(WithoutProc, the_namespace_is_the_same_as_with_it) {
  if (!can_ask_a_pidfd())
    GTEST_SKIP() << "this kernel is older than Linux 6.11: it does not tell without /proc";
  in_a_new_process([&] {
    hide_proc();
    ASSERT_NE(access("/proc/self/ns/pid", F_OK), 0);
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    lock->release();
  });
  in_a_new_process(
      [&] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired) << "the lock is another namespace's"; });
}

// Spec: lock.owner.pid-namespace
TEST_F(WithoutProc, no_file_descriptor_stays_open) {
  if (!can_ask_a_pidfd())
    GTEST_SKIP() << "this kernel is older than Linux 6.11: it does not tell without /proc";
  in_a_new_process([&] {
    hide_proc();
    const auto next_two = [] {
      const int one = dup(STDERR_FILENO), two = dup(STDERR_FILENO);
      close(one);
      close(two);
      return std::pair(one, two);
    };
    const auto before = next_two();
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_EQ(next_two(), before);
  });
}

// Spec: lock.error.unsupported, lock.error.unchanged
TEST_F(WithoutProc, and_without_pidfds_no_acquire_is_possible) {
  in_a_new_process([&] {
    hide_proc();
    ASSERT_TRUE(forbid(SYS_pidfd_open, {}, ENOSYS));
    EXPECT_TRUE(says(message_of_unsupported(), "there is no /proc/self/ns/pid; mount /proc"));
  });
}

// Spec: lock.error.unsupported, lock.error.unchanged
TEST_F(WithoutProc, and_with_old_pidfds_no_acquire_is_possible) {
  in_a_new_process([&] {
    hide_proc();
    ASSERT_TRUE(forbid(SYS_ioctl, {}, ENOTTY));
    EXPECT_TRUE(says(message_of_unsupported(), "there is no /proc/self/ns/pid; mount /proc"));
  });
}

// Spec: lock.owner.pid-namespace-once
TEST_F(WithoutProc, a_process_that_used_locks_goes_on) {
  in_a_new_process([&] {
    lock->lock();
    lock->unlock();
    hide_proc();
    ASSERT_TRUE(forbid(SYS_pidfd_open, {}, ENOSYS));
    std::thread([&] { EXPECT_EQ(lock->acquire(), AcquireResult::acquired); }).join();
  });
}

// --- Where the system does not tell whether an owner lives, as of another user's thread ---

// Spec: lock.inherit.stopped, lock.error.errno
TEST_F(RefusingSystem, that_hides_an_owner_leaves_it_the_owner) {
  Gate held, asked;
  Party owner(As::process, [&] {
    lock->lock();
    held.open();
    asked.wait();
    EXPECT_TRUE(lock->is_owned());
    EXPECT_FALSE(lock->needs_repair());
    lock->unlock();
  });
  held.wait();
  in_a_new_process([&] {
    EXPECT_FALSE(lock->try_lock());  // finds out who the caller is
    ASSERT_TRUE(forbid(SYS_get_robust_list));
    errno = 4711;
    EXPECT_EQ(lock->acquire_for(std::chrono::milliseconds(1)), AcquireResult::not_acquired);
    EXPECT_EQ(errno, 4711);
  });
  asked.open();
}

// --- A thread that is overtaken in its first acquire ---

class Overtaken : public RefusingSystem {
 protected:
  void SetUp() override {
    RefusingSystem::SetUp();
    if (!Traced::is_permitted()) GTEST_SKIP() << "this system does not let a process trace its child";
  }
};

// Both have made a page; one page stays, and both threads know themselves by it.
// Spec: lock.acquire.exclusion, lock.owner.query
TEST_F(Overtaken, in_its_first_acquire_is_the_owner) {
  Gate may_overtake, has_overtaken, may_release;
  InSharedMemory<std::atomic<bool>> is_about_to{false};
  SharedLock others;
  Traced first([&] {
    std::thread second([&] {
      may_overtake.wait();
      EXPECT_EQ(others->acquire(), AcquireResult::acquired);
      has_overtaken.open();
      may_release.wait();
      EXPECT_TRUE(others->is_owned());
      EXPECT_FALSE(lock->is_owned());
      others->release();
    });
    *is_about_to = true;
    EXPECT_EQ(lock->acquire(), AcquireResult::acquired);
    EXPECT_TRUE(lock->is_owned());
    EXPECT_EQ(lock->owner(), getpid());
    EXPECT_FALSE(others->is_owned());
    may_release.open();
    second.join();
    lock->release();
  });
  do ASSERT_TRUE(first.go_on_until_it_calls(SYS_madvise));  // to have its page wiped
  while (!*is_about_to);
  may_overtake.open();
  ASSERT_TRUE(has_overtaken.wait_for(std::chrono::seconds(20)));
  EXPECT_TRUE(first.finish());
}

// --- A futex call that fails as it never should
// ---------------------------------------------------------------

// What a process that dies by SIGABRT in `body` has written to its standard error.
std::string last_words_of(const std::function<void()>& body) {
  int words[2];
  EXPECT_EQ(pipe2(words, O_CLOEXEC), 0);
  const pid_t process = fork();
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core_file{0, 0};
    setrlimit(RLIMIT_CORE, &no_core_file);
    std::signal(SIGABRT, SIG_DFL);
    dup2(words[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(words[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got; (got = read(words[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  close(words[0]);
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << "wait status " << status << ": " << text;
  return text;
}

constexpr Where futex_operation(std::uint32_t operation) {
  return {1, ~0U, operation};
}

// Spec: lock.error.kernel
TEST_F(RefusingSystem, that_lets_nobody_wait_ends_the_program) {
  support::set_word(*lock, 1);  // the owner is process 1
  const std::string text = last_words_of([&] {
    if (forbid(SYS_futex, futex_operation(FUTEX_WAIT_BITSET))) static_cast<void>(lock->acquire());
  });
  EXPECT_TRUE(says(text, "heirlock: futex(FUTEX_WAIT_BITSET) on the lock at 0x",
                   "failed: Operation not permitted", "if a sandbox filters system calls, allow this one"));
}

// Memory of memfd_secret(2) is to the kernel as a device's: it takes no reference to its pages.
// Spec: lock.error.kernel
TEST_F(RefusingSystem, that_cannot_wait_there_ends_the_program) {
  const int file = static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC));
  if (file < 0) GTEST_SKIP() << "this kernel has no secret memory";
  ASSERT_EQ(ftruncate(file, sizeof(ReentrantLock)), 0);
  void* const memory = mmap(nullptr, sizeof(ReentrantLock), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  ASSERT_NE(memory, MAP_FAILED);
  auto& secret = *static_cast<ReentrantLock*>(memory);
  support::set_word(secret, 1);  // the owner is process 1
  EXPECT_TRUE(says(last_words_of([&] { static_cast<void>(secret.acquire()); }),
                   "heirlock: futex(FUTEX_WAIT_BITSET) on the lock at 0x", "failed: Bad address",
                   "the kernel cannot wait on this memory, as it is a device's"));
  munmap(memory, sizeof(ReentrantLock));
}

// Spec: lock.error.kernel
TEST_F(RefusingSystem, that_lets_nobody_wake_ends_the_program) {
  for (const int error : {EPERM, ENOSYS}) {  // as one sandbox has it, or another
    const std::string text = last_words_of([&] {
      if (!forbid(SYS_futex, futex_operation(FUTEX_WAKE), error)) return;
      support::set_word(*lock, heirlock::detail::waiters_bit);
      static_cast<void>(lock->acquire());
      lock->release();
    });
    EXPECT_TRUE(says(text, "heirlock: futex(FUTEX_WAKE) on the lock at 0x",
                     std::string("failed: ") + std::strerror(error), "if a sandbox filters system calls"));
    support::set_word(*lock, 0);
  }
}

// The next owner inherits: the one that was ended died as its owner.
// Spec: lock.error.kernel, lock.inherit.death
TEST_F(RefusingSystem, that_refuses_wake_op_leaves_an_heir) {
  const std::string text = last_words_of([&] {
    if (!forbid(SYS_futex, futex_operation(FUTEX_WAKE_OP))) return;
    support::set_word(*lock, heirlock::detail::waiters_bit);
    for (int i = 0; i < 2; ++i) {  // the first finds nobody to wake, the second drops the bit
      static_cast<void>(lock->acquire());
      lock->release();
    }
  });
  EXPECT_TRUE(says(text, "heirlock: futex(FUTEX_WAKE_OP) on the lock at 0x",
                   "failed: Operation not permitted", "if a sandbox filters system calls, allow this one"));
  in_a_new_process([&] {
    EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
    lock->release();
  });
}

// The lock was free before the wake-up, and its memory may be gone since.
// Spec: lock.release.untouched, lock.error.errno
TEST_F(RefusingSystem, without_the_locks_memory_ends_the_release) {
  in_a_new_process([&] {
    ASSERT_TRUE(forbid(SYS_futex, futex_operation(FUTEX_WAKE), EFAULT));
    support::set_word(*lock, heirlock::detail::waiters_bit);
    lock->lock();
    errno = 4711;
    lock->release();
    EXPECT_EQ(errno, 4711);
    EXPECT_EQ(lock->owner(), 0);
  });
}

}  // namespace
