// What the kernel knows of a thread's robust list, from its birth until after its death; and the memory that
// tells a child that it is one.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "support/child.hpp"
#include "support/mortal.hpp"
#include "support/party.hpp"
#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"

using kernel::Death;
using kernel::list_of;
using kernel::LongestList;
using kernel::Mortal;
using kernel::Node;
using kernel::owner_died;
using kernel::Registered;
using kernel::RobustList;
using support::Birth;
using support::Child;
using support::InSharedMemory;

namespace {

// --- Life and death --------------------------------------------------------------------------------------

class AThreadsList : public testing::TestWithParam<Death> {
 protected:
  InSharedMemory<RobustList> list;
};
INSTANTIATE_TEST_SUITE_P(And, AThreadsList, testing::ValuesIn(kernel::each_death),
                         testing::PrintToStringParamName());

// Spec: kernel.list-query
TEST_P(AThreadsList, is_found_while_the_thread_lives) {
  const Mortal mortal(GetParam(), [&](std::uint32_t) { list->register_for_this_thread(); });
  EXPECT_EQ(list_of(mortal.tid()).error, 0);
  EXPECT_EQ(list_of(mortal.tid()).head, list->head());
}

// A thread may be joined a moment before its tid is given up.
// Spec: kernel.list-query
TEST_P(AThreadsList, is_not_found_after_its_death) {
  Mortal mortal(GetParam(), [&](std::uint32_t) { list->register_for_this_thread(); });
  const pid_t tid = mortal.tid();
  mortal.die();
  const Registered found = list_of(tid);
  EXPECT_EQ(found.head, nullptr);
  EXPECT_TRUE(found.error == ESRCH || GetParam() == Death::by_end_of_thread) << found.error;
  while (list_of(tid).error != ESRCH) sched_yield();
}

// As long a list as the kernel walks over, so that an answer that comes too soon finds it half-done.
// Spec: kernel.list-query
TEST_P(AThreadsList, is_found_until_all_its_locks_are_treated) {
  for (int round = 0; round < 20; ++round) {
    InSharedMemory<LongestList> memory;
    Mortal mortal(GetParam(), [&](std::uint32_t tid) { memory->be_held_by(tid); });
    const pid_t tid = mortal.tid();
    mortal.begin_to_die();
    while (list_of(tid).head != nullptr) continue;
    ASSERT_EQ(memory->pending.word, owner_died) << "the one that is treated last";
    ASSERT_EQ(memory->listed[0].word, owner_died) << "the last of the list";
  }
}

// Spec: kernel.list-query
TEST(AStoppedThreadsList, is_found) {
  InSharedMemory<RobustList> list;
  const Mortal mortal(Death::by_sigkill, [&](std::uint32_t) { list->register_for_this_thread(); });
  ASSERT_EQ(kill(mortal.tid(), SIGSTOP), 0);
  ASSERT_EQ(waitpid(mortal.tid(), nullptr, WUNTRACED), mortal.tid());
  EXPECT_EQ(list_of(mortal.tid()).head, list->head());
}

// Spec: kernel.list-query
TEST(AZombiesList, is_none) {
  InSharedMemory<RobustList> list;
  Mortal mortal(Death::by_sigkill, [&](std::uint32_t) { list->register_for_this_thread(); });
  mortal.begin_to_die();
  siginfo_t what{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(mortal.tid()), &what, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(list_of(mortal.tid()).error, 0);
  EXPECT_EQ(list_of(mortal.tid()).head, nullptr);
}

// Spec: kernel.list-query
TEST(TheListOfALeaderThatHasEnded, is_none_although_its_process_lives) {
  InSharedMemory<RobustList> list;
  support::Gate prepared;
  const pid_t leader = fork();
  if (leader == 0) {
    std::thread([] {
      for (;;) pause();
    }).detach();
    list->register_for_this_thread();
    prepared.open();
    syscall(SYS_exit, 0);
  }
  prepared.wait();
  while (support::state_of(leader) != 'Z') sched_yield();
  EXPECT_EQ(waitpid(leader, nullptr, WNOHANG), 0) << "the process has ended";
  EXPECT_EQ(list_of(leader).error, 0);
  EXPECT_EQ(list_of(leader).head, nullptr);
  kill(leader, SIGKILL);
  waitpid(leader, nullptr, 0);
}

// Spec: kernel.list-refused
TEST(AnotherUsersList, is_refused_while_the_thread_lives) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Child(Birth::fork, [parent = getpid()] {
    constexpr uid_t nobody = 65534;
    ASSERT_EQ(setresuid(nobody, nobody, nobody), 0);
    EXPECT_EQ(list_of(parent).error, EPERM);
  }).join();
}

// --- Birth -----------------------------------------------------------------------------------------------

// glibc's other name for clone, which ThreadSanitizer does not take for a fork.
extern "C" decltype(clone) __clone;

/// Runs the body in a child that shares the caller's memory; the caller waits until it has ended.
template <class Body>
void in_a_child_that_shares_memory(Body body) {
  constexpr std::size_t size = 256 * 1024;
  void* const stack = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(stack, MAP_FAILED);
  const auto run = [](void* argument) {
    (*static_cast<Body*>(argument))();
    return 0;
  };
  const pid_t child =
      __clone(run, static_cast<unsigned char*>(stack) + size, CLONE_VM | CLONE_VFORK | SIGCHLD, &body);
  ASSERT_GT(child, 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  munmap(stack, size);
}

class AChildMadeBy : public testing::TestWithParam<Birth> {
 protected:
  void SetUp() override {
    if (!support::can_make_child(GetParam())) GTEST_SKIP() << "this system cannot make a child like that";
  }
};
INSTANTIATE_TEST_SUITE_P(Birth, AChildMadeBy,
                         testing::Values(Birth::fork, Birth::fork_without_handlers, Birth::clone,
                                         Birth::clone3),
                         testing::PrintToStringParamName());

// Spec: kernel.child-list
TEST_P(AChildMadeBy, has_only_the_list_that_libc_registers) {
  ASSERT_NE(list_of(0).head, nullptr) << "its parent has one";
  InSharedMemory<const robust_list_head*> found(nullptr);
  Child(GetParam(), [&] { *found = list_of(0).head; }).join();
  const bool made_by_libc = GetParam() == Birth::fork || GetParam() == Birth::fork_without_handlers;
  EXPECT_EQ(*found != nullptr, made_by_libc);
}

// Spec: kernel.child-list
TEST(AChildThatSharesMemory, has_no_list) {
  const robust_list_head* found = list_of(0).head;
  ASSERT_NE(found, nullptr) << "its parent has one";
  in_a_child_that_shares_memory([&] { found = list_of(0).head; });
  EXPECT_EQ(found, nullptr);
}

// --- Memory that is wiped in a child -----------------------------------------------------------------------

constexpr unsigned char written = 0x77;

/// A page of the process's own, full of what was written, and with this advice.
class WipedPage {
 public:
  WipedPage() {
    if (page_ == MAP_FAILED) std::abort();
    fill();
    if (madvise(page_, size_, MADV_WIPEONFORK) != 0) ADD_FAILURE() << "MADV_WIPEONFORK: errno " << errno;
  }
  WipedPage(const WipedPage&) = delete;
  WipedPage& operator=(const WipedPage&) = delete;
  ~WipedPage() { munmap(page_, size_); }

  void fill() { std::fill_n(bytes(), size_, written); }
  bool is_all(unsigned char value) const {
    return std::all_of(bytes(), bytes() + size_, [value](unsigned char byte) { return byte == value; });
  }

 private:
  unsigned char* bytes() const { return static_cast<unsigned char*>(page_); }

  const std::size_t size_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const page_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
};

// Spec: kernel.wipe-on-fork
TEST_P(AChildMadeBy, finds_the_page_wiped) {
  const WipedPage page;
  Child(GetParam(), [&] { EXPECT_TRUE(page.is_all(0)); }).join();
  EXPECT_TRUE(page.is_all(written));
}

// Spec: kernel.wipe-on-fork
TEST_P(AChildMadeBy, inherits_the_advice_for_its_own_children) {
  WipedPage page;
  Child(GetParam(), [&, birth = GetParam()] {
    page.fill();
    Child(birth, [&] { EXPECT_TRUE(page.is_all(0)); }).join();
    EXPECT_TRUE(page.is_all(written));
  }).join();
}

// Spec: kernel.wipe-on-fork
TEST(AChildThatSharesMemory, finds_the_page_as_it_is) {
  const WipedPage page;
  bool is_as_it_was = false;
  in_a_child_that_shares_memory([&] { is_as_it_was = page.is_all(written); });
  EXPECT_TRUE(is_as_it_was);
}

}  // namespace
