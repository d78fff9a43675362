// One lock by name, in programs that have nothing else in common.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "heirlock/lockable.hpp"
#include "processes/lockable_peer.hpp"
#include "support/between_parties.hpp"
#include "support/party.hpp"
#include "support/segment_name.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::Shared;
using support::As;
using support::Party;
using support::SegmentName;

namespace {

// The program lockable_peer, started anew: it shares no memory with the test but by name.
class Peer {
 public:
  explicit Peer(const std::string& name) {
    int commands[2];
    int answers[2];
    if (pipe2(commands, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, commands[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO);
    std::string program = LOCKABLE_PEER;
    std::string argument = name;
    char* const arguments[] = {program.data(), argument.data(), nullptr};
    EXPECT_EQ(posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(commands[0]);
    close(answers[1]);
    commands_ = commands[1];
    answers_ = answers[0];
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    close(commands_);
    close(answers_);
    int status = 0;
    if (process_ != 0 && waitpid(process_, &status, 0) == process_) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "it ended with wait status " << status;
    }
  }

  void tell(char command) { EXPECT_EQ(write(commands_, &command, 1), 1); }
  char answer() {
    char letter = '-';
    EXPECT_EQ(read(answers_, &letter, 1), 1) << "it has ended";
    return letter;
  }
  char ask(char command) {
    tell(command);
    return answer();
  }
  void wait_until_asleep() const { support::wait_until_asleep_in_futex(process_); }
  void kill() {
    ::kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
  int commands_ = -1;
  int answers_ = -1;
};

class NamedLockable : public testing::TestWithParam<As> {
 protected:
  ~NamedLockable() override { Shared<int>::remove(NamedCounter::number_of(name.str())); }

  const SegmentName name;
};
INSTANTIATE_TEST_SUITE_P(As, NamedLockable, support::each_kind_of_party, support::kind_name);

// --- Programs
// -------------------------------------------------------------------------------------------------

// Spec: lockable.named
TEST_F(NamedLockable, programs_exclude_each_other) {
  Peer one(name.str());
  Peer two(name.str());
  EXPECT_EQ(one.ask(peer::acquire), peer::acquired);
  EXPECT_EQ(two.ask(peer::try_acquire), peer::busy);
  EXPECT_EQ(one.ask(peer::release), peer::done);
  EXPECT_EQ(two.ask(peer::try_acquire), peer::acquired);
}

// Spec: lockable.named
TEST_F(NamedLockable, a_program_reenters) {
  Peer program(name.str());
  EXPECT_EQ(program.ask(peer::acquire), peer::acquired);
  EXPECT_EQ(program.ask(peer::acquire), peer::acquired);
  NamedCounter object(name.str());
  EXPECT_EQ(program.ask(peer::release), peer::done);
  EXPECT_FALSE(object.acquire(false));
  EXPECT_EQ(program.ask(peer::release), peer::done);
  EXPECT_TRUE(object.acquire(false));
  object.release();
}

// Spec: lockable.named
TEST_F(NamedLockable, a_program_that_sleeps_gets_the_lock_that_another_releases) {
  NamedCounter object(name.str());
  object.acquire();
  Peer program(name.str());
  program.tell(peer::acquire);
  program.wait_until_asleep();
  object.release();
  EXPECT_EQ(program.answer(), peer::acquired);
}

// Spec: lockable.release
TEST_F(NamedLockable, a_program_cannot_release_what_another_holds) {
  NamedCounter object(name.str());
  object.acquire();
  EXPECT_EQ(Peer(name.str()).ask(peer::release), peer::refused);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// Spec: lockable.recover
TEST_F(NamedLockable, a_program_that_sleeps_inherits_from_another_that_is_killed) {
  Peer victim(name.str());
  EXPECT_EQ(victim.ask(peer::acquire), peer::acquired);
  Peer heir(name.str());
  heir.tell(peer::acquire);
  heir.wait_until_asleep();
  victim.kill();
  EXPECT_EQ(heir.answer(), peer::recovered);
}

// The flag is in the segment, and lives as long.
// Spec: lock.inherit.flag
TEST_F(NamedLockable, a_death_is_remembered_when_no_program_has_the_lock_open) {
  {
    Peer victim(name.str());
    EXPECT_EQ(victim.ask(peer::acquire), peer::acquired);
    victim.kill();
  }
  EXPECT_EQ(Peer(name.str()).ask(peer::acquire), peer::recovered);
}

// Spec: lock.acquire.exclusion
TEST_F(NamedLockable, programs_lose_no_increment) {
  NamedCounter object(name.str());
  Peer one(name.str());
  Peer two(name.str());
  one.tell(peer::increment);
  two.tell(peer::increment);
  for (int i = 0; i < peer::increments; ++i) object.increment();
  EXPECT_EQ(one.answer(), peer::done);
  EXPECT_EQ(two.answer(), peer::done);
  EXPECT_EQ(object.number(), 3 * peer::increments);
}

// --- Objects of one program
// -----------------------------------------------------------------------------------

// Spec: lockable.named
TEST_P(NamedLockable, objects_of_one_name_exclude_each_other) {
  NamedCounter one(name.str());
  NamedCounter two(name.str());
  one.acquire();
  Party(GetParam(), [&] { EXPECT_FALSE(two.acquire(false)); }).join();
  one.release();
  Party(GetParam(), [&] {
    EXPECT_TRUE(two.acquire(false));
    two.release();
  }).join();
}

// Spec: lockable.one-mapping
TEST_F(NamedLockable, handles_of_one_name_share_one_mapping) {
  NamedCounter inherited(name.str());
  const auto expect_one_address = [&] {
    NamedCounter object(name.str());
    EXPECT_EQ(&object.mutex(), &inherited.mutex());
    EXPECT_EQ(&object.mutex(), Shared<ReentrantLock>::open(name).get());
  };
  expect_one_address();
  Party(As::process, expect_one_address).join();
}

// Spec: lockable.one-mapping
TEST_F(NamedLockable, what_one_object_acquired_another_releases) {
  NamedCounter one(name.str());
  NamedCounter two(name.str());
  one.acquire();
  EXPECT_TRUE(two.acquire(false));
  EXPECT_EQ(one.mutex().depth(), 2U);
  two.release();
  two.release();
  EXPECT_EQ(one.mutex().owner(), 0);
}

// Spec: lockable.named
TEST_F(NamedLockable, objects_of_two_names_have_two_locks) {
  const SegmentName another;
  NamedCounter one(name.str());
  NamedCounter two(another.str());
  one.acquire();
  EXPECT_EQ(two.mutex().owner(), 0);
  one.release();
  Shared<int>::remove(NamedCounter::number_of(another.str()));
}

// Spec: lockable.named
TEST_F(NamedLockable, a_forked_child_shares_the_lock) {
  NamedCounter object(name.str());
  object.acquire();
  Party(As::process, [&] {
    EXPECT_FALSE(object.acquire(false));
    EXPECT_FALSE(NamedCounter(name.str()).acquire(false));
  }).join();
  object.release();
}

// Spec: lockable.named, shared.is-named
TEST_F(NamedLockable, a_named_lock_is_a_segment_that_can_be_opened_and_removed) {
  NamedCounter old(name.str());
  old.acquire();
  EXPECT_EQ(Shared<ReentrantLock>::open(name)->depth(), 1U);
  EXPECT_TRUE(old.is_named());
  EXPECT_TRUE(Shared<ReentrantLock>::remove(name));
  EXPECT_FALSE(old.is_named());
  EXPECT_EQ(NamedCounter(name.str()).mutex().owner(), 0) << "a new lock of the same name";
  EXPECT_EQ(old.mutex().depth(), 1U);
  old.release();
}

// Spec: lockable.named
TEST_F(NamedLockable, a_lock_that_was_created_as_a_segment_is_used) {
  const auto lock = Shared<ReentrantLock>::create(name);
  NamedCounter object(name.str());
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(object.mutex().depth(), 1U);
  lock->release();
}

}  // namespace
