#include "dying_owner.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "support/party.hpp"

std::ostream& operator<<(std::ostream& out, Death death) {
  static const char* const names[] = {
      "by_sigkill",        "by_underscore_exit",      "by_exit",
      "by_abort",          "by_end_of_thread",        "by_end_of_leader",
      "by_exec_of_leader", "by_exec_of_other_thread", "by_exec_of_a_thread_mate"};
  return out << names[static_cast<int>(death)];
}

namespace {

[[noreturn]] void sleep_for_ever() {
  for (;;) pause();
}

bool process_lives_on(Death death) {
  return death > Death::by_abort;
}

}  // namespace

DyingOwner::DyingOwner(Death death, const std::function<void()>& take) : death_(death), failed_(false) {
  EXPECT_EQ(pipe2(closed_by_exec_, O_CLOEXEC), 0);
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(closed_by_exec_[0]);
    live(death, take);
  }
  close(closed_by_exec_[1]);
  if (process_ < 0) {
    ADD_FAILURE() << "fork failed";
    return;
  }
  has_taken_.wait();
  EXPECT_FALSE(*failed_) << "the owner's own messages stand above";
}

DyingOwner::~DyingOwner() {
  close(closed_by_exec_[0]);
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

void DyingOwner::die() {
  if (death_ == Death::by_sigkill)
    ASSERT_EQ(kill(process_, SIGKILL), 0);
  else
    may_die_.open();

  if (!process_lives_on(death_)) {
    int status = 0;
    ASSERT_EQ(waitpid(process_, &status, 0), process_);
    process_ = 0;
    const int expected = death_ == Death::by_sigkill ? SIGKILL : death_ == Death::by_abort ? SIGABRT : 0;
    ASSERT_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, expected);
    return;
  }
  switch (death_) {
    case Death::by_end_of_thread:
      return is_dead_.wait();
    case Death::by_end_of_leader:
      while (support::state_of(process_) != 'Z') sched_yield();
      return;
    default: {
      // exec closes the pipe after it has given up the old memory and the locks in it.
      char nothing = 0;
      ASSERT_EQ(read(closed_by_exec_[0], &nothing, 1), 0);
      char path[PATH_MAX] = "";
      ASSERT_GT(readlink(("/proc/" + std::to_string(process_) + "/exe").c_str(), path, sizeof path - 1), 0);
      ASSERT_NE(std::string(path).find("/heirlock_test_stranger"), std::string::npos) << path;
      return;
    }
  }
}

void DyingOwner::take_and_wait_for_death(const std::function<void()>& take) {
  try {
    take();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "an owner ended by the exception: " << error.what();
  }
  *failed_ = testing::Test::HasFailure();
  has_taken_.open();
  if (death_ == Death::by_sigkill || death_ == Death::by_exec_of_a_thread_mate) sleep_for_ever();
  may_die_.wait();
}

void DyingOwner::exec_a_program_that_sleeps() {
  execl(STRANGER, STRANGER, "sleep", nullptr);
  std::perror("exec of the program that sleeps");
  std::_Exit(1);
}

void DyingOwner::live(Death death, const std::function<void()>& take) {
  switch (death) {
    case Death::by_sigkill:
      take_and_wait_for_death(take);
      break;
    case Death::by_underscore_exit:
      take_and_wait_for_death(take);
      _exit(0);
    case Death::by_exit:
      take_and_wait_for_death(take);
      std::exit(0);
    case Death::by_abort: {
      const rlimit no_core_file{0, 0};
      setrlimit(RLIMIT_CORE, &no_core_file);
      signal(SIGABRT, SIG_DFL);
      take_and_wait_for_death(take);
      std::abort();
    }
    case Death::by_end_of_thread:
      std::thread([&] { take_and_wait_for_death(take); }).join();
      is_dead_.open();  // joined by the word that the kernel clears after the thread's locks
      break;
    case Death::by_end_of_leader: {
      std::thread(sleep_for_ever).detach();
      take_and_wait_for_death(take);
      syscall(SYS_exit, 0);  // the end of pthread_exit; that would unwind the test's own stack first
      break;
    }
    case Death::by_exec_of_leader:
      take_and_wait_for_death(take);
      exec_a_program_that_sleeps();
    case Death::by_exec_of_other_thread:
      std::thread([&] {
        take_and_wait_for_death(take);
        exec_a_program_that_sleeps();
      }).join();
      break;
    case Death::by_exec_of_a_thread_mate:
      std::thread([&] { take_and_wait_for_death(take); }).detach();
      may_die_.wait();
      exec_a_program_that_sleeps();
  }
  sleep_for_ever();
}
