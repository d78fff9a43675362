// What becomes of a process's locks when it calls exec. All is looked at while the new program runs.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <ostream>
#include <thread>

#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"

using kernel::Node;
using kernel::owner_died;
using kernel::RobustList;
using kernel::Sleepers;
using kernel::waiters;
using kernel::Word;
using support::Gate;
using support::InSharedMemory;

namespace {

enum class Caller { the_leader, another_thread };
std::ostream& operator<<(std::ostream& out, Caller caller) {
  return out << (caller == Caller::the_leader ? "the_leader" : "another_thread");
}

struct Holding {
  RobustList list;
  Node listed;
  Node pending;
};

/// A process of two threads, each with a list of its own. Make it before any other thread.
class Execing {
 public:
  /// Returns when `prepare` has run in both threads; it is given the thread's own id and whose memory it is.
  Execing(Caller caller, const std::function<void(Holding&, std::uint32_t own_tid)>& prepare) : tids_{} {
    EXPECT_EQ(pipe(to_program_), 0);
    EXPECT_EQ(pipe(from_program_), 0);
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto live = [&](Caller self) {
        (*tids_)[index(self)] = static_cast<std::uint32_t>(kernel::this_tid());
        prepare(of(self), tid(self));
        of(self).list.register_for_this_thread();
        prepared_.open();
        if (self == caller) exec();
        for (;;) pause();
      };
      std::thread(live, Caller::another_thread).detach();
      live(Caller::the_leader);
    }
    close(to_program_[0]);
    close(from_program_[1]);
    prepared_.wait();
    prepared_.wait();
    for (const Caller thread : {Caller::the_leader, Caller::another_thread})
      EXPECT_EQ(kernel::list_of(static_cast<pid_t>(tid(thread))).head, of(thread).list.head());
  }
  Execing(const Execing&) = delete;
  Execing& operator=(const Execing&) = delete;
  ~Execing() {
    close(to_program_[1]);
    int status = 0;
    EXPECT_EQ(waitpid(process_, &status, 0), process_);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the program ended with " << status;
    close(from_program_[0]);
  }

  /// Returns when the new program runs.
  void call_exec() {
    may_exec_.open();
    char byte = 0;
    EXPECT_EQ(read(from_program_[0], &byte, 1), 1);
  }

  Holding& of(Caller thread) { return (*holdings_)[index(thread)]; }
  std::uint32_t tid(Caller thread) { return (*tids_)[index(thread)]; }

 private:
  static std::size_t index(Caller thread) { return thread == Caller::the_leader ? 0 : 1; }

  [[noreturn]] void exec() {
    may_exec_.wait();
    dup2(to_program_[0], STDIN_FILENO);
    dup2(from_program_[1], STDOUT_FILENO);
    for (const int end : {to_program_[0], to_program_[1], from_program_[0], from_program_[1]}) close(end);
    execl(AFTER_EXEC, AFTER_EXEC, nullptr);
    _exit(127);
  }

  InSharedMemory<std::array<Holding, 2>> holdings_;
  InSharedMemory<std::array<std::uint32_t, 2>> tids_;
  Gate prepared_, may_exec_;
  int to_program_[2], from_program_[2];
  pid_t process_;
};

void hold_two_locks(Holding& holding, std::uint32_t own_tid) {
  holding.listed.word = holding.pending.word = own_tid | waiters;
  holding.list.put_first(holding.listed);
  holding.list.set_pending(holding.pending);
}

void have_a_free_lock_pending(Holding& holding, std::uint32_t) {
  holding.pending.word = 0;  // no bit set: so that every kernel wakes somebody, see [kernel.pending-free]
  holding.list.set_pending(holding.pending);
}

// Spec: kernel.exec
TEST(ExecByTheLeader, treats_its_listed_and_its_pending_lock) {
  Execing process(Caller::the_leader, hold_two_locks);
  const Holding& held = process.of(Caller::the_leader);
  const Sleepers on_listed(held.listed.word, 2), on_pending(held.pending.word, 2);
  process.call_exec();
  EXPECT_EQ(held.listed.word, owner_died | waiters);
  EXPECT_EQ(held.pending.word, owner_died | waiters);
  EXPECT_EQ(on_listed.woken(), 1);
  EXPECT_EQ(on_pending.woken(), 1);
}

// Spec: kernel.exec-thread
TEST(ExecByAnotherThread, leaves_its_locks_as_they_are) {
  Execing process(Caller::another_thread, hold_two_locks);
  const Holding& held = process.of(Caller::another_thread);
  const Sleepers on_listed(held.listed.word, 2), on_pending(held.pending.word, 2);
  process.call_exec();
  EXPECT_EQ(held.listed.word, process.tid(Caller::another_thread) | waiters);
  EXPECT_EQ(held.pending.word, process.tid(Caller::another_thread) | waiters);
  EXPECT_EQ(on_listed.woken(), 0);
  EXPECT_EQ(on_pending.woken(), 0);
}

// The caller has become the leader before its list is walked over.
// Spec: kernel.exec-thread
TEST(ExecByAnotherThread, treats_what_names_the_leader) {
  Execing process(Caller::another_thread, hold_two_locks);
  Word& word = process.of(Caller::another_thread).listed.word;
  word = process.tid(Caller::the_leader);
  process.call_exec();
  EXPECT_EQ(word, owner_died);
}

class ExecBy : public testing::TestWithParam<Caller> {};
INSTANTIATE_TEST_SUITE_P(Thread, ExecBy, testing::Values(Caller::the_leader, Caller::another_thread),
                         testing::PrintToStringParamName());

// Spec: kernel.exec, kernel.exec-thread, kernel.pending-free
TEST_P(ExecBy, wakes_one_for_a_pending_free_lock) {
  Execing process(GetParam(), have_a_free_lock_pending);
  const Word& word = process.of(GetParam()).pending.word;
  const Sleepers sleepers(word, 2);
  process.call_exec();
  EXPECT_EQ(word, 0u);
  EXPECT_EQ(sleepers.woken(), 1);
}

// Spec: kernel.exec, kernel.exit-walk
TEST_P(ExecBy, treats_the_other_threads_locks) {
  Execing process(GetParam(), hold_two_locks);
  const Caller other = GetParam() == Caller::the_leader ? Caller::another_thread : Caller::the_leader;
  const Word& word = process.of(other).listed.word;
  const Sleepers sleepers(word, 2);
  process.call_exec();
  EXPECT_EQ(word, owner_died | waiters);
  EXPECT_EQ(sleepers.woken(), 1);
}

}  // namespace
