// What the kernel does to the locks of a thread that ends: each word, each sleeper, and the order. How many
// sleepers were woken is told by how many are still queued once the death could be waited for; nothing here
// waits for something not to happen.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <iostream>
#include <string>
#include <thread>
#include <tuple>

#include "support/exit_walk.hpp"
#include "support/mortal.hpp"
#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"

using kernel::Death;
using kernel::LongestList;
using kernel::Mortal;
using kernel::Node;
using kernel::owner_died;
using kernel::RobustList;
using kernel::Sleepers;
using kernel::waiters;
using support::exit_walk_of_this_kernel;
using support::ExitWalk;
using support::InSharedMemory;
using support::wakes_for_pending;

namespace {

enum class Entry { listed, pending };

/// A lock in the robust list of a thread that dies, and two sleepers on it.
class OneLock : public testing::TestWithParam<std::tuple<Death, Entry, std::uint32_t>> {
 protected:
  struct Memory {
    RobustList list;
    Node lock;
    Node witness;  // listed and held: tells that there was a walk at all
    std::uint32_t before = 0;
  };
  enum class Owner { nobody, the_dying_thread, another_thread };

  void let_its_thread_die(Owner owner) {
    const auto death = std::get<0>(GetParam());
    const auto entry = std::get<1>(GetParam());
    const auto bits = std::get<2>(GetParam());
    const auto another = static_cast<std::uint32_t>(getpid());
    Mortal mortal(death, [&](std::uint32_t tid) {
      const std::uint32_t part = owner == Owner::nobody             ? 0
                                 : owner == Owner::the_dying_thread ? tid
                                                                    : another;
      memory->lock.word = memory->before = part | bits;
      memory->witness.word = tid;
      memory->list.put_first(memory->witness);
      if (entry == Entry::listed)
        memory->list.put_first(memory->lock);
      else
        memory->list.set_pending(memory->lock);
      memory->list.register_for_this_thread();
    });
    Sleepers sleepers(memory->lock.word, 2);
    mortal.die();
    woken = sleepers.woken();
    word = memory->lock.word;
    EXPECT_EQ(memory->witness.word, owner_died);
  }

  std::uint32_t word_before() const { return memory->before; }
  static std::uint32_t bits() { return std::get<std::uint32_t>(GetParam()); }

  int woken = -1;
  std::uint32_t word = 0;

 private:
  InSharedMemory<Memory> memory;
};

std::string name_of_case(const testing::TestParamInfo<OneLock::ParamType>& info) {
  const auto [death, entry, bits] = info.param;
  return testing::PrintToString(death) + (entry == Entry::listed ? "_listed_" : "_pending_") +
         kernel::name_of_bits(bits);
}

const auto each_bits = testing::ValuesIn(kernel::each_combination_of_bits);
const auto by_each_death = testing::ValuesIn(kernel::each_death);
const auto listed_or_pending = testing::Values(Entry::listed, Entry::pending);

// Says which one, here and in what --gtest_output writes. All cases below must then be as it has them.
// Spec: kernel.pending-free, kernel.pending-foreign
TEST(TheWalkOfThisKernel, is_of_a_known_kind) {
  const std::string walk = testing::PrintToString(exit_walk_of_this_kernel());
  std::cout << "the exit walk of this kernel is that " << walk << std::endl;
  RecordProperty("exit_walk", walk);
}

// --- Its own -------------------------------------------------------------------------------------------

class AWordThatNamesTheDyingThread : public OneLock {};
INSTANTIATE_TEST_SUITE_P(All, AWordThatNamesTheDyingThread,
                         testing::Combine(by_each_death, listed_or_pending, each_bits), name_of_case);

// Spec: kernel.owner-died, kernel.exit-walk
TEST_P(AWordThatNamesTheDyingThread, becomes_owner_died_and_wakes_one_if_marked) {
  let_its_thread_die(Owner::the_dying_thread);
  EXPECT_EQ(word, owner_died | (bits() & waiters));
  EXPECT_EQ(woken, (bits() & waiters) != 0 ? 1 : 0);
}

// --- Free ----------------------------------------------------------------------------------------------

class APendingFreeLock : public OneLock {};
INSTANTIATE_TEST_SUITE_P(All, APendingFreeLock,
                         testing::Combine(by_each_death, testing::Values(Entry::pending), each_bits),
                         name_of_case);

class AListedFreeLock : public OneLock {};
INSTANTIATE_TEST_SUITE_P(All, AListedFreeLock,
                         testing::Combine(by_each_death, testing::Values(Entry::listed), each_bits),
                         name_of_case);

// Spec: kernel.pending-free
TEST_P(APendingFreeLock, wakes_as_this_walk_does) {
  const bool wakes = wakes_for_pending(exit_walk_of_this_kernel(), bits());
  let_its_thread_die(Owner::nobody);
  EXPECT_EQ(word, word_before());
  EXPECT_EQ(woken, wakes ? 1 : 0);
}

// Spec: kernel.pending-foreign
TEST_P(AListedFreeLock, keeps_its_word_and_has_nobody_woken) {
  let_its_thread_die(Owner::nobody);
  EXPECT_EQ(word, word_before());
  EXPECT_EQ(woken, 0);
}

// --- Another's -----------------------------------------------------------------------------------------

class ALockOfAnotherThread : public OneLock {};
INSTANTIATE_TEST_SUITE_P(All, ALockOfAnotherThread,
                         testing::Combine(by_each_death, listed_or_pending, each_bits), name_of_case);

// Spec: kernel.pending-foreign
TEST_P(ALockOfAnotherThread, wakes_as_this_walk_does) {
  const ExitWalk walk = exit_walk_of_this_kernel();
  let_its_thread_die(Owner::another_thread);
  const bool is_pending = std::get<Entry>(GetParam()) == Entry::pending;
  EXPECT_EQ(word, word_before());
  EXPECT_EQ(woken, is_pending && wakes_for_pending(walk, word_before()) ? 1 : 0);
}

// --- The list, then the pending lock: the order shows where the list is torn, in kernel_list_limit_test.cpp

class TheWalk : public testing::TestWithParam<Death> {
 protected:
  InSharedMemory<RobustList> list;
  InSharedMemory<std::array<Node, 2>> locks;
};
INSTANTIATE_TEST_SUITE_P(At, TheWalk, by_each_death, testing::PrintToStringParamName());

// Spec: kernel.listed-and-pending
TEST_P(TheWalk, treats_a_listed_and_pending_lock_once) {
  Node& lock = (*locks)[0];
  Mortal mortal(GetParam(), [&](std::uint32_t tid) {
    lock.word = tid | waiters;
    list->put_first(lock);
    list->set_pending(lock);
    list->register_for_this_thread();
  });
  Sleepers sleepers(lock.word, 3);
  mortal.die();
  EXPECT_EQ(lock.word, owner_died | waiters);
  EXPECT_EQ(sleepers.woken(), 1);
}

// Spec: kernel.listed-and-pending
TEST_P(TheWalk, treats_a_listed_and_pending_lock_as_pending) {
  Node& lock = (*locks)[0];
  Mortal mortal(GetParam(), [&](std::uint32_t) {
    list->put_first(lock);
    list->set_pending(lock);
    list->register_for_this_thread();
  });
  Sleepers sleepers(lock.word, 2);
  mortal.die();
  EXPECT_EQ(sleepers.woken(), 1) << "a listed free lock has nobody woken";
}

// Spec: kernel.exit-walk
TEST_P(TheWalk, treats_the_whole_list_and_the_pending_lock) {
  InSharedMemory<std::array<Node, 100>> many;
  Node& pending = (*locks)[0];
  Mortal mortal(GetParam(), [&](std::uint32_t tid) {
    for (Node& lock : *many) {
      lock.word = tid;
      list->put_first(lock);
    }
    pending.word = tid;
    list->set_pending(pending);
    list->register_for_this_thread();
  });
  mortal.die();
  for (const Node& lock : *many) EXPECT_EQ(lock.word, owner_died);
  EXPECT_EQ(pending.word, owner_died);
}

// Bit 0 of a link marks a priority-inheriting mutex, whose sleepers are no business of this walk.
// Spec: kernel.marked-link
TEST_P(TheWalk, follows_a_marked_link_and_wakes_nobody_there) {
  Node &marked = (*locks)[0], &behind = (*locks)[1];
  Mortal mortal(GetParam(), [&](std::uint32_t tid) {
    marked.word = tid | waiters;
    behind.word = tid;
    list->link({&marked, &behind});
    robust_list*& link = list->head()->list.next;
    link = reinterpret_cast<robust_list*>(reinterpret_cast<std::uintptr_t>(link) | 1);
    list->register_for_this_thread();
  });
  Sleepers sleepers(marked.word, 2);
  mortal.die();
  EXPECT_EQ(marked.word, owner_died | waiters);
  EXPECT_EQ(behind.word, owner_died);
  EXPECT_EQ(sleepers.woken(), 0);
}

// Spec: kernel.shared-wake
TEST(TheWalkOfAThread, does_not_wake_private_sleepers) {
  InSharedMemory<RobustList> list;
  InSharedMemory<Node> lock;
  Mortal mortal(Death::by_end_of_thread, [&](std::uint32_t tid) {
    lock->word = tid | waiters;
    list->put_first(*lock);
    list->register_for_this_thread();
  });
  Sleepers sleepers(lock->word, 2, FUTEX_PRIVATE_FLAG);
  mortal.die();
  EXPECT_EQ(lock->word, owner_died | waiters);
  EXPECT_EQ(sleepers.woken(), 0);
}

// --- Before the death can be waited for ----------------------------------------------------------------

// The word is also the one that the kernel clears when the thread ends, which is what pthread_join waits for.
// Walk first: that wakes one, and clearing the word wakes another. Cleared first: that wakes one, and a
// listed free lock nobody.
// Spec: kernel.exit-walk
TEST(AThreadsEnd, shows_in_its_locks_before_pthread_join) {
  struct Memory {
    RobustList list;
    Node lock;
  };
  InSharedMemory<Memory> memory;
  InSharedMemory<std::atomic<pid_t>> tid(0);
  support::Gate may_end;
  const pid_t process = fork();
  if (process == 0) {
    std::thread([&] {
      memory->lock.word = static_cast<std::uint32_t>(kernel::this_tid()) | waiters;
      memory->list.put_first(memory->lock);
      memory->list.register_for_this_thread();
      syscall(SYS_set_tid_address, &memory->lock.word);
      *tid = kernel::this_tid();
      may_end.wait();
    }).detach();
    for (;;) pause();  // the kernel clears the word only while another thread uses the memory
  }
  while (*tid == 0) sched_yield();
  {
    Sleepers sleepers(memory->lock.word, 3);
    may_end.open();
    while (memory->lock.word != 0 || syscall(SYS_tgkill, process, tid->load(), 0) == 0) sched_yield();
    EXPECT_EQ(sleepers.woken(), 2);
  }
  kill(process, SIGKILL);
  waitpid(process, nullptr, 0);
}

class AProcesssEnd : public testing::TestWithParam<Death> {};
INSTANTIATE_TEST_SUITE_P(At, AProcesssEnd, testing::Values(Death::by_sigkill, Death::by_exit_group),
                         testing::PrintToStringParamName());

// As long a list as the kernel walks over, so that a wait that ends too soon finds it half-done.
// Spec: kernel.exit-walk
TEST_P(AProcesssEnd, shows_in_its_locks_before_waitid) {
  for (int round = 0; round < 20; ++round) {
    InSharedMemory<LongestList> memory;
    Mortal mortal(GetParam(), [&](std::uint32_t tid) { memory->be_held_by(tid); });
    mortal.begin_to_die();
    siginfo_t what{};
    while (what.si_pid == 0)
      ASSERT_EQ(waitid(P_PID, static_cast<id_t>(mortal.tid()), &what, WEXITED | WNOHANG | WNOWAIT), 0);
    ASSERT_EQ(memory->pending.word, owner_died) << "the one that is treated last";
    ASSERT_EQ(memory->listed[0].word, owner_died) << "the last of the list";
  }
}

// Spec: kernel.exit-walk
TEST(AKilledProcess, shows_in_all_threads_locks_before_waitpid) {
  struct Memory {
    std::array<RobustList, 3> lists;
    std::array<Node, 3> locks;
  };
  InSharedMemory<Memory> memory;
  support::Gate prepared;
  const pid_t process = fork();
  if (process == 0) {
    const auto hold = [&](std::size_t i) {
      memory->locks[i].word = static_cast<std::uint32_t>(kernel::this_tid());
      memory->lists[i].put_first(memory->locks[i]);
      memory->lists[i].register_for_this_thread();
      prepared.open();
      for (;;) pause();
    };
    std::thread(hold, 1).detach();
    std::thread(hold, 2).detach();
    hold(0);
  }
  for (int i = 0; i < 3; ++i) prepared.wait();
  ASSERT_EQ(kill(process, SIGKILL), 0);
  ASSERT_EQ(waitpid(process, nullptr, 0), process);
  for (const Node& lock : memory->locks) EXPECT_EQ(lock.word, owner_died);
}

}  // namespace
