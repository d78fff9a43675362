// An unrelated program, which has nothing in common with the owner but a file with a lock in it. It begins
// without ever having used a lock.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "heirlock/reentrant_lock.hpp"
#include "stranger_program.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"
#include "support/lock_probe.hpp"
#include "support/party.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using support::Birth;

namespace {

using Lines = std::vector<std::string>;

// Two locks in a file without a name.
class LocksInAFile {
 public:
  LocksInAFile() : file_(memfd_create("locks", 0)) {
    EXPECT_EQ(ftruncate(file_, sizeof(ReentrantLock[2])), 0);
    void* const memory =
        mmap(nullptr, sizeof(ReentrantLock[2]), PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    EXPECT_NE(memory, MAP_FAILED);
    locks_ = static_cast<ReentrantLock*>(memory);  // all zero: two free locks
  }
  LocksInAFile(const LocksInAFile&) = delete;
  LocksInAFile& operator=(const LocksInAFile&) = delete;
  ~LocksInAFile() {
    while (locks_->is_owned()) locks_->release();
    munmap(locks_, sizeof(ReentrantLock[2]));
    close(file_);
  }

  ReentrantLock& operator*() const { return *locks_; }
  ReentrantLock* operator->() const { return locks_; }
  int file() const { return file_; }

 private:
  int file_;
  ReentrantLock* locks_ = nullptr;
};

// The program in stranger.cpp, which says there what the commands mean.
class Stranger {
 public:
  Stranger(const LocksInAFile& locks, const std::vector<std::string>& commands) {
    int output[2];
    EXPECT_EQ(pipe(output), 0);
    const std::string path = path_of_stranger();
    const std::string file = std::to_string(locks.file());
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(output[1], STDOUT_FILENO);
      close(output[0]);
      close(output[1]);
      std::vector<const char*> arguments{path.c_str(), file.c_str()};
      for (const std::string& command : commands) arguments.push_back(command.c_str());
      arguments.push_back(nullptr);
      execv(path.c_str(), const_cast<char**>(arguments.data()));
      std::perror(path.c_str());
      _exit(3);
    }
    close(output[1]);
    output_ = fdopen(output[0], "r");
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  ~Stranger() {
    if (process_ > 0) kill();
    std::fclose(output_);
  }

  /// The next line it says, "" when it says no more.
  std::string next_line() {
    char text[512];
    if (std::fgets(text, sizeof text, output_) == nullptr) return {};
    std::string line(text);
    return line.substr(0, line.size() - 1);
  }
  /// All it says until it ends by itself.
  Lines all_lines() {
    Lines lines;
    for (std::string line = next_line(); !line.empty(); line = next_line()) lines.push_back(line);
    int status = 0;
    EXPECT_EQ(waitpid(process_, &status, 0), process_);
    EXPECT_EQ(status, 0);
    process_ = 0;
    return lines;
  }
  void kill() {
    ::kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  pid_t process() const { return process_; }

 private:
  pid_t process_ = 0;
  FILE* output_ = nullptr;
};

class AStranger : public testing::Test {
 protected:
  LocksInAFile lock;
};

// Spec: lock.release.owner-only
TEST_F(AStranger, is_refused_when_it_releases_anothers_lock_as_its_first_use_of_any) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  const auto before = support::bytes_of(*lock);
  EXPECT_EQ(Stranger(lock, {"release"}).all_lines(), Lines{"release: AssertionError"});
  EXPECT_EQ(support::bytes_of(*lock), before);
}

// Spec: lock.release.owner-only
TEST_F(AStranger, is_refused_when_it_releases_anothers_lock_while_it_holds_one_of_its_own) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  const auto before = support::bytes_of(*lock);
  EXPECT_EQ(Stranger(lock, {"acquire-other", "release"}).all_lines(),
            (Lines{"acquire-other: acquired", "release: AssertionError"}));
  EXPECT_EQ(support::bytes_of(*lock), before);
}

// Spec: lock.release.owner-only
TEST_F(AStranger, is_refused_when_it_releases_a_free_lock_as_its_first_use_of_any) {
  EXPECT_EQ(Stranger(lock, {"release"}).all_lines(), Lines{"release: AssertionError"});
}

// Spec: lock.inherit.repaired-owner-only
TEST_F(AStranger, is_refused_when_it_calls_repaired_on_anothers_lock) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(Stranger(lock, {"repaired"}).all_lines(), Lines{"repaired: AssertionError"});
}

// Spec: lock.try.busy, lock.owner.query
TEST_F(AStranger, finds_anothers_lock_busy) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(Stranger(lock, {"is-owned", "try"}).all_lines(), (Lines{"is-owned: no", "try: not_acquired"}));
}

// Spec: lock.acquire.blocking
TEST_F(AStranger, sleeps_until_the_owner_releases) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  Stranger stranger(lock, {"acquire", "release"});
  support::wait_until_asleep_in_futex(stranger.process());
  lock->release();
  EXPECT_EQ(stranger.all_lines(), (Lines{"acquire: acquired", "release: done"}));
}

// Spec: lock.inherit.death
TEST_F(AStranger, is_inherited_from_when_it_is_killed) {
  Stranger stranger(lock, {"acquire", "sleep"});
  ASSERT_EQ(stranger.next_line(), "acquire: acquired");
  stranger.kill();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.inherit.death
TEST_F(AStranger, inherits_from_an_owner_that_returned_from_main) {
  EXPECT_EQ(Stranger(lock, {"acquire"}).all_lines(), Lines{"acquire: acquired"});
  EXPECT_EQ(Stranger(lock, {"acquire", "repaired", "release"}).all_lines(),
            (Lines{"acquire: inherited", "repaired: done", "release: done"}));
  EXPECT_EQ(Stranger(lock, {"acquire"}).all_lines(), Lines{"acquire: acquired"});
}

// Spec: lock.inherit.death
TEST_F(AStranger, is_inherited_from_when_its_first_thread_ends_by_pthread_exit_and_the_process_lives_on) {
  Stranger stranger(lock, {"acquire", "acquire", "end-of-leader"});
  ASSERT_EQ(stranger.next_line(), "acquire: acquired");
  ASSERT_EQ(stranger.next_line(), "acquire: reentered");
  while (support::state_of(stranger.process()) != 'Z') sched_yield();
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
  EXPECT_EQ(lock->depth(), 1u);
  EXPECT_EQ(waitpid(stranger.process(), nullptr, WNOHANG), 0) << "the process should still live";
}

// Such a child shares its parent's memory until it calls exec.
// Spec: lock.owner.child, lock.acquire.exclusion
TEST_F(AStranger, spawned_by_the_owner_itself_leaves_it_the_owner) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  const auto before = support::bytes_of(*lock);
  const std::string path = path_of_stranger(), file = std::to_string(lock.file());
  std::string release = "release", name = path;
  char* const arguments[] = {name.data(), const_cast<char*>(file.c_str()), release.data(), nullptr};
  posix_spawn_file_actions_t quietly;
  posix_spawn_file_actions_init(&quietly);
  posix_spawn_file_actions_addopen(&quietly, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t spawned = 0;
  ASSERT_EQ(posix_spawn(&spawned, path.c_str(), &quietly, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&quietly);
  int status = 0;
  ASSERT_EQ(waitpid(spawned, &status, 0), spawned);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(support::bytes_of(*lock), before);
  EXPECT_TRUE(lock->is_owned());
  EXPECT_EQ(Stranger(lock, {"try"}).all_lines(), Lines{"try: not_acquired"});
}

// A child, whose parent never used a lock: the first use is the child's.
class AStrangersChildMadeBy : public testing::TestWithParam<Birth> {
 protected:
  void SetUp() override {
    if (!support::can_make_child(GetParam())) GTEST_SKIP() << "this system cannot make a child like that";
  }
  std::string birth() const { return support::name_of(GetParam()); }

  LocksInAFile lock;
};
INSTANTIATE_TEST_SUITE_P(Birth, AStrangersChildMadeBy,
                         testing::Values(Birth::fork, Birth::fork_without_handlers, Birth::clone,
                                         Birth::clone3),
                         testing::PrintToStringParamName());

// Spec: lock.owner.child, lock.release.owner-only
TEST_P(AStrangersChildMadeBy, is_refused_when_it_releases) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(Stranger(lock, {birth(), "release"}).all_lines(), Lines{"release: AssertionError"});
}

// Spec: lock.owner.child, lock.release.owner-only
TEST_P(AStrangersChildMadeBy, is_refused_when_it_releases_a_free_lock) {
  EXPECT_EQ(Stranger(lock, {birth(), "release"}).all_lines(), Lines{"release: AssertionError"});
}

// Spec: lock.owner.child, lock.owner.query
TEST_P(AStrangersChildMadeBy, sees_that_it_does_not_own) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(Stranger(lock, {birth(), "is-owned"}).all_lines(), Lines{"is-owned: no"});
}

// Spec: lock.owner.child, lock.try.busy
TEST_P(AStrangersChildMadeBy, finds_the_lock_busy) {
  ASSERT_EQ(lock->acquire(), AcquireResult::acquired);
  EXPECT_EQ(Stranger(lock, {birth(), "try"}).all_lines(), Lines{"try: not_acquired"});
}

// Spec: lock.acquire.free, lock.reentry.result
TEST_P(AStrangersChildMadeBy, acquires_reenters_and_releases) {
  EXPECT_EQ(Stranger(lock, {birth(), "acquire", "acquire", "release", "is-owned", "release", "is-owned"})
                .all_lines(),
            (Lines{"acquire: acquired", "acquire: reentered", "release: done", "is-owned: yes",
                   "release: done", "is-owned: no"}));
}

// Spec: lock.inherit.death
TEST_P(AStrangersChildMadeBy, is_inherited_from_when_it_dies) {
  EXPECT_EQ(Stranger(lock, {birth(), "acquire"}).all_lines(), Lines{"acquire: acquired"});
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

// Spec: lock.owner.child
TEST_P(AStrangersChildMadeBy, does_not_own_what_its_parent_acquired_as_its_first_use) {
  EXPECT_EQ(Stranger(lock, {"acquire", birth(), "is-owned", "release", "try"}).all_lines(),
            (Lines{"acquire: acquired", "is-owned: no", "release: AssertionError", "try: not_acquired"}));
}

// Spec: lock.inherit.death
TEST_P(AStrangersChildMadeBy, is_inherited_from_when_a_grandchild_made_the_same_way_dies) {
  EXPECT_EQ(Stranger(lock, {birth(), birth(), "acquire"}).all_lines(), Lines{"acquire: acquired"});
  EXPECT_EQ(lock->try_acquire(), AcquireResult::inherited);
}

}  // namespace
