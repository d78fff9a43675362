// That a wake-up is neither lost nor counted twice, whatever happens to the sleeper at the same time.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"
#include "support/traced.hpp"

using kernel::microsecond;
using kernel::millisecond;
using kernel::Node;
using kernel::RobustList;
using kernel::Sleepers;
using kernel::waiters;
using kernel::Word;
using support::InSharedMemory;

namespace {

// --- A sleeper that was woken and has not run yet --------------------------------------------------------

/// While it lives, the calling thread stays on one CPU, so that it can keep another from running there.
class OnOneCpu {
 public:
  OnOneCpu() {
    sched_getaffinity(0, sizeof before_, &before_);
    CPU_ZERO(&one_);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one_);
    sched_setaffinity(0, sizeof one_, &one_);
  }
  OnOneCpu(const OnOneCpu&) = delete;
  OnOneCpu& operator=(const OnOneCpu&) = delete;
  ~OnOneCpu() { sched_setaffinity(0, sizeof before_, &before_); }

  /// From its next wake-up on, a thread that sleeps now runs on this CPU only, and hardly ever while anybody
  /// else wants to. It may have ended already, and then the test sees nothing of what it wants to see.
  void starve(pid_t tid) const {
    const sched_param none{};
    sched_setaffinity(tid, sizeof one_, &one_);
    sched_setscheduler(tid, SCHED_IDLE, &none);
  }
  /// Ends that, so that the test need not wait for a moment at which nobody else wants the CPU.
  void let_run(pid_t tid) const {
    const sched_param none{};
    sched_setaffinity(tid, sizeof before_, &before_);
    sched_setscheduler(tid, SCHED_OTHER, &none);
  }

 private:
  cpu_set_t before_, one_;
};

/// How often a test wants to see what it is about, and how often it tries at most.
constexpr int wanted = 10, tries = 20'000;

enum class Besides { its_time_ends, a_signal_arrives };
enum class Comes { after_the_wake_up, before_the_wake_up };

std::ostream& operator<<(std::ostream& out, Besides besides) {
  return out << (besides == Besides::its_time_ends ? "its_time_ends" : "a_signal_arrives");
}
std::ostream& operator<<(std::ostream& out, Comes comes) {
  return out << (comes == Comes::after_the_wake_up ? "after_the_wake_up" : "before_the_wake_up");
}

class AWaitThatTwoThingsEnd : public testing::TestWithParam<std::tuple<Besides, Comes>> {
 protected:
  AWaitThatTwoThingsEnd() {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // without SA_RESTART: it ends a wait
    sigaction(SIGUSR1, &action, &before_);
  }
  ~AWaitThatTwoThingsEnd() override { sigaction(SIGUSR1, &before_, nullptr); }

 private:
  struct sigaction before_ = {};
};
std::string name_of_two_things(const testing::TestParamInfo<AWaitThatTwoThingsEnd::ParamType>& two_things) {
  return testing::PrintToString(std::get<0>(two_things.param)) + "_" +
         testing::PrintToString(std::get<1>(two_things.param));
}
INSTANTIATE_TEST_SUITE_P(And, AWaitThatTwoThingsEnd,
                         testing::Combine(testing::Values(Besides::its_time_ends, Besides::a_signal_arrives),
                                          testing::Values(Comes::after_the_wake_up,
                                                          Comes::before_the_wake_up)),
                         name_of_two_things);

// A round counts when the sleeper had not run before both had happened. That it is so cannot be forced, but
// it is the rule; and what the wait returns must fit what FUTEX_WAKE returned in every round.
// Spec: kernel.wake-not-lost
TEST_P(AWaitThatTwoThingsEnd, returns_0_if_the_wake_up_was_counted) {
  const auto [besides, comes] = GetParam();
  const OnOneCpu here;
  int seen = 0;
  for (int i = 0; i < tries && seen < wanted; ++i) {
    const Word word{1};
    std::atomic<int> result{-1};
    std::atomic<pid_t> tid{0};
    const std::int64_t deadline = kernel::now() + 2 * millisecond;
    std::thread sleeper([&, has_deadline = besides == Besides::its_time_ends] {
      tid = kernel::this_tid();
      const timespec until = kernel::moment(deadline);
      result = kernel::wait(word, 1, has_deadline ? &until : nullptr);
    });
    while (kernel::sleepers_on(word) == 0 && result == -1) sched_yield();
    here.starve(tid);

    const auto other_thing = [&, thing = besides] {
      if (thing == Besides::a_signal_arrives)
        syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1);
      else
        while (kernel::now() <= deadline) continue;
    };
    if (comes == Comes::before_the_wake_up) other_thing();
    const int woken = kernel::wake(word, 1);
    if (comes == Comes::after_the_wake_up && result == -1) other_thing();
    if (woken == 1 && result == -1) ++seen;

    here.let_run(tid);
    sleeper.join();
    const int otherwise = besides == Besides::its_time_ends ? ETIMEDOUT : EINTR;
    ASSERT_EQ(result, woken == 1 ? 0 : otherwise) << "FUTEX_WAKE returned " << woken;
  }
  EXPECT_EQ(seen, wanted) << "in " << tries << " rounds";
}

void spin_for(std::int64_t nanoseconds) {
  for (const std::int64_t end = kernel::now() + nanoseconds; kernel::now() < end;) continue;
}

// --- A storm ---------------------------------------------------------------------------------------------

// Spec: kernel.wake-not-lost
TEST(FutexWakes, return_together_how_many_waits_returned_0) {
  constexpr int enough = 1000;
  const Word word{1};
  std::atomic<int> returned_0{0}, timed_out{0}, others{0}, running{3};
  const auto is_over = [&] { return returned_0 >= enough && timed_out >= enough; };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 3; ++seed)
    threads.emplace_back([&, random = std::minstd_rand(seed)]() mutable {
      while (!is_over()) {
        const timespec until = kernel::moment(kernel::now() + static_cast<int>(random() % 100) * microsecond);
        const int result = kernel::wait(word, 1, &until);
        ++(result == 0 ? returned_0 : result == ETIMEDOUT ? timed_out : others);
      }
      --running;
    });
  int woken = 0;
  for (std::minstd_rand random(4); running > 0;) {
    woken += kernel::wake(word, 1 + static_cast<int>(random() % 2));
    // About as long as a sleeper has: often enough somebody is woken at the moment at which its time ends.
    // Not by spinning: where all share a CPU, they run only if they are let.
    const timespec next = kernel::moment(kernel::now() + static_cast<int>(random() % 150) * microsecond);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(woken, returned_0);
  EXPECT_EQ(others, 0);
}

// --- Sleepers that are killed or stopped -----------------------------------------------------------------

/// A process that sleeps on a word; with that lock pending, if it is told so. Make it before any thread.
class SleepingProcess {
 public:
  /// `bits` are those of FUTEX_WAIT_BITSET.
  explicit SleepingProcess(Node& lock, RobustList* list = nullptr,
                           std::uint32_t bits = FUTEX_BITSET_MATCH_ANY) {
    const int asleep_before = kernel::sleepers_on(lock.word);
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (list != nullptr) {
        list->set_pending(lock);
        list->register_for_this_thread();
      }
      *result_ = kernel::wait(lock.word, lock.word, nullptr, 0, bits);
      for (;;) pause();
    }
    while (kernel::sleepers_on(lock.word) == asleep_before) sched_yield();
  }
  SleepingProcess(const SleepingProcess&) = delete;
  SleepingProcess& operator=(const SleepingProcess&) = delete;
  ~SleepingProcess() { kill(); }

  pid_t pid() const { return process_; }
  /// What its wait returned; -1 if it never came back.
  int result() const { return *result_; }
  void send(int signal) const { EXPECT_EQ(::kill(process_, signal), 0); }
  /// Waits until this has become of it, WSTOPPED or WEXITED, and leaves it so.
  void wait_for(int what) const {
    siginfo_t info{};
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(process_), &info, what | WNOWAIT), 0);
  }
  void kill() {
    if (process_ == 0) return;
    send(SIGKILL);
    EXPECT_EQ(waitpid(process_, nullptr, 0), process_);
    process_ = 0;
  }

 private:
  InSharedMemory<std::atomic<int>> result_{-1};
  pid_t process_;
};

struct LockAndList {
  Node lock;
  RobustList list;
};

// Spec: kernel.killed-sleeper
TEST(AKilledSleeper, that_was_not_woken_takes_no_wake_up) {
  InSharedMemory<Node> lock;
  SleepingProcess killed(*lock);
  const Sleepers another(lock->word, 1);
  killed.send(SIGKILL);
  killed.wait_for(WEXITED);  // a zombie
  EXPECT_EQ(kernel::wake(lock->word, 1), 1);
  EXPECT_EQ(another.woken(), 1);
}

// Spec: kernel.killed-sleeper, kernel.pending-free
TEST(AKilledSleeper, that_was_woken_passes_the_wake_up_on) {
  const OnOneCpu here;
  int seen = 0;
  for (int i = 0; i < tries && seen < wanted; ++i) {
    InSharedMemory<LockAndList> memory;
    constexpr std::uint32_t its_bit = 1, anothers_bit = 2;
    SleepingProcess killed(memory->lock, &memory->list, its_bit);
    const Sleepers another(memory->lock.word, 1, 0, anothers_bit);
    here.starve(killed.pid());
    ASSERT_EQ(kernel::wake(memory->lock.word, 1, 0, its_bit), 1);
    killed.send(SIGKILL);
    here.let_run(killed.pid());
    killed.kill();
    if (killed.result() == -1) ++seen;
    ASSERT_EQ(another.woken(), 1);
  }
  EXPECT_EQ(seen, wanted) << "in " << tries << " rounds";
}

// It is killed and woken at once. Whether the wake-up finds it queued, or queued no more, or comes even after
// its end has woken the other one: the other one does not sleep on.
// Spec: kernel.killed-sleeper, kernel.pending-free
TEST(AKilledSleeper, woken_as_it_dies_leaves_nobody_asleep) {
  for (int i = 0; i < 50; ++i) {
    InSharedMemory<LockAndList> memory;
    SleepingProcess killed(memory->lock, &memory->list);
    const Sleepers another(memory->lock.word, 1);
    killed.send(SIGKILL);
    kernel::wake(memory->lock.word, 1);
    killed.kill();
    ASSERT_EQ(another.woken(), 1);
  }
}

// Spec: kernel.stopped-sleeper
TEST(AStoppedSleeper, takes_no_wake_up) {
  InSharedMemory<Node> lock;
  SleepingProcess stopped(*lock);
  const Sleepers another(lock->word, 1);
  stopped.send(SIGSTOP);
  stopped.wait_for(WSTOPPED);
  EXPECT_EQ(kernel::wake(lock->word, 2), 1);
  EXPECT_EQ(another.woken(), 1);
}

// Spec: kernel.stopped-sleeper
TEST(AStoppedSleeper, sleeps_again_on_the_same_word) {
  InSharedMemory<Node> lock;
  SleepingProcess stopped(*lock);
  stopped.send(SIGSTOP);
  stopped.wait_for(WSTOPPED);
  EXPECT_EQ(kernel::sleepers_on(lock->word), 0);
  stopped.send(SIGCONT);
  while (kernel::sleepers_on(lock->word) == 0 && stopped.result() == -1) sched_yield();
  EXPECT_EQ(stopped.result(), -1);
}

// Spec: kernel.stopped-sleeper
TEST(AStoppedSleeper, comes_back_on_a_changed_word) {
  InSharedMemory<Node> lock;
  SleepingProcess stopped(*lock);
  stopped.send(SIGSTOP);
  stopped.wait_for(WSTOPPED);
  lock->word = 1;
  stopped.send(SIGCONT);
  while (stopped.result() == -1) sched_yield();
  EXPECT_EQ(stopped.result(), EAGAIN);
}

// --- Time ------------------------------------------------------------------------------------------------

// Spec: kernel.wait-until
TEST(ATimedWait, never_ends_before_its_moment) {
  const Word word{1};
  std::minstd_rand random(1);
  for (int i = 0; i < 500; ++i) {
    const std::int64_t deadline = kernel::now() + static_cast<std::int64_t>(random() % 200'000);
    const timespec until = kernel::moment(deadline);
    ASSERT_EQ(kernel::wait(word, 1, &until), ETIMEDOUT);
    ASSERT_GE(kernel::now(), deadline);
  }
}

// --- Compares and queues in one step -----------------------------------------------------------------------

/// Threads that wait for the values that a round's word has before and after, round after round.
class Storm {
 public:
  static constexpr std::uint32_t before = waiters | 1234, after = 0;

  /// `change` makes the word `after` and wakes all who sleep on `before`, and returns how many it woke.
  template <class Change>
  void rage(std::uint32_t value_waited_for, const Change& change) {
    constexpr int enough = 500, rounds = 20'000;
    std::vector<Word> words(rounds);
    std::atomic<int> round{0};
    words[0] = before;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&] {
        for (int mine; (mine = round) != rounds;) {
          const timespec soon = kernel::moment(kernel::now() + 50 * microsecond);
          const int result = kernel::wait(words[static_cast<std::size_t>(mine)], value_waited_for, &soon);
          ++(result == 0 ? returned_0 : result == EAGAIN ? found_another_value : timed_out);
        }
      });
    for (int now = 0; now < rounds; ++now) {
      Word& word = words[static_cast<std::size_t>(now)];
      word = before;
      round = now;
      // Now and then somebody sleeps already. Where all share a CPU, they run only if they are let.
      if (now % 16 == 0) sched_yield();
      spin_for(now % 20 * microsecond);
      woken += change(word);
      if (value_waited_for == before && kernel::sleepers_on(word) != 0) ++left_asleep;
      if (now % 64 == 0 && found_another_value >= enough && (returned_0 >= enough || timed_out >= enough))
        break;
    }
    round = rounds;
    for (std::thread& thread : threads) thread.join();
  }

  std::atomic<int> returned_0{0}, found_another_value{0}, timed_out{0};
  int woken = 0;
  int left_asleep = 0;
};

int store_and_then_wake_all(Word& word) {
  word = Storm::after;
  return kernel::wake(word, INT32_MAX);
}

// Spec: kernel.wait-one-step
TEST(AWait, compares_and_queues_in_one_step) {
  Storm storm;
  storm.rage(Storm::before, store_and_then_wake_all);
  EXPECT_EQ(storm.left_asleep, 0);
  EXPECT_EQ(storm.woken, storm.returned_0);
  EXPECT_GT(storm.returned_0, 0);
  EXPECT_GT(storm.found_another_value, 0);
}

// --- FUTEX_WAKE_OP ---------------------------------------------------------------------------------------

// Spec: kernel.wake-op
TEST(AWakeOp, stores_0_and_wakes_and_counts_all) {
  Word word{waiters | static_cast<std::uint32_t>(kernel::this_tid())};
  const Sleepers sleepers(word, 3);
  EXPECT_EQ(kernel::clear_and_wake_all(word), 3);
  EXPECT_EQ(word, 0u);
  EXPECT_EQ(sleepers.woken(), 3);
}

// Spec: kernel.wake-op
TEST(AWakeOp, leaves_nobody_asleep_who_saw_the_old_value) {
  Storm storm;
  storm.rage(Storm::before, kernel::clear_and_wake_all);
  EXPECT_EQ(storm.left_asleep, 0);
  EXPECT_EQ(storm.woken, storm.returned_0);
  EXPECT_GT(storm.returned_0, 0);
  EXPECT_GT(storm.found_another_value, 0);
}

// Between a store and a wake-up that follows it, somebody may go to sleep on the new value, and be woken.
// Spec: kernel.wake-op
TEST(AWakeOp, wakes_nobody_who_saw_the_new_value) {
  Storm storm;
  storm.rage(Storm::after, kernel::clear_and_wake_all);
  EXPECT_EQ(storm.returned_0, 0);
  EXPECT_EQ(storm.woken, 0);
  EXPECT_GT(storm.found_another_value, 0);
  EXPECT_GT(storm.timed_out, 0);
}

// A kill stops a program between two of its instructions. So the program is stopped there, at each.
// Spec: kernel.wake-op
TEST(AWakeOp, cannot_be_stopped_or_killed_half_way) {
  if (!support::Traced::is_permitted()) GTEST_SKIP() << "this system lets no process trace its child";
  constexpr int asleep = 2;
  InSharedMemory<Word> word(waiters | 1234);
  const pid_t process = fork();
  if (process == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    raise(SIGSTOP);
    kernel::clear_and_wake_all(*word);
    raise(SIGSTOP);
    for (;;) pause();
  }
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  EXPECT_TRUE(WIFSTOPPED(status));
  ptrace(PTRACE_SETOPTIONS, process, nullptr, PTRACE_O_EXITKILL);
  {
    const Sleepers sleepers(*word, asleep);
    int steps_before = 0, steps_after = 0;
    do {
      ASSERT_EQ(ptrace(PTRACE_SINGLESTEP, process, nullptr, nullptr), 0);
      ASSERT_EQ(waitpid(process, &status, 0), process);
      ASSERT_TRUE(WIFSTOPPED(status));
      const bool is_stored = *word == 0;
      ASSERT_EQ(sleepers.woken(), is_stored ? asleep : 0) << "after step " << steps_before + steps_after;
      ++(is_stored ? steps_after : steps_before);
    } while (WSTOPSIG(status) == SIGTRAP);
    EXPECT_GT(steps_before, 0);
    EXPECT_GT(steps_after, 0);
  }
  kill(process, SIGKILL);
  waitpid(process, nullptr, 0);
}

// --- Memory that is gone -----------------------------------------------------------------------------------

// Spec: kernel.wake-gone
TEST(AWakeUp, where_no_memory_is_fails) {
  const kernel::Pages pages(1);
  const Word& word = pages.within(0).word;
  pages.forbid(0, PROT_NONE);
  EXPECT_EQ(kernel::wake(word, 1), -1);
  EXPECT_EQ(errno, EFAULT);
}

// Spec: kernel.wake-gone
TEST(AWakeUp, on_other_memory_finds_nobody_of_before) {
  const kernel::Pages pages(2);
  const Word& word = pages.within(0).word;
  const Sleepers sleepers(word, 1);
  pages.make_view(1, 0);         // keeps the sleeper's memory
  pages.put_other_memory_to(0);  // at the address that it slept on
  EXPECT_EQ(kernel::wake(word, 1), 0);
  pages.make_view(0, 1);
  EXPECT_EQ(sleepers.woken(), 0);
}

}  // namespace
