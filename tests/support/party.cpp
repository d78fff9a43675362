#include "support/party.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <string>

namespace support {

std::ostream& operator<<(std::ostream& out, As as) {
  return out << (as == As::thread ? "thread" : "process");
}

namespace {

void run(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "a party ended by the exception: " << error.what();
  }
}

}  // namespace

Party::Party(As as, std::function<void()> body) : tid_(0) {
  const auto announce = [this] { *tid_ = static_cast<pid_t>(syscall(SYS_gettid)); };
  if (as == As::thread) {
    thread_ = std::thread([announce, body = std::move(body)] {
      announce();
      run(body);
    });
    return;
  }
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    announce();
    run(body);
    fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  if (process_ < 0) ADD_FAILURE() << "fork failed";
}

Party::~Party() {
  join();
}

void Party::join() {
  if (thread_.joinable()) thread_.join();
  if (process_ <= 0) return;
  int status = 0;
  EXPECT_EQ(waitpid(process_, &status, 0), process_);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "a process of the test ended with wait status " << status << "; its own messages stand above";
  process_ = 0;
}

void Party::kill() {
  ASSERT_EQ(::kill(process_, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(process_, &status, 0), process_);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      << "it had ended before, with status " << status;
  process_ = 0;
}

void Party::signal(int number) {
  ASSERT_EQ(::kill(process_, number), 0);
  if (number != SIGSTOP) return;
  int status = 0;
  ASSERT_EQ(waitpid(process_, &status, WUNTRACED), process_);
  ASSERT_TRUE(WIFSTOPPED(status));
}

pid_t Party::tid() const {
  while (*tid_ == 0) sched_yield();
  return *tid_;
}

void Party::wait_until_asleep() const {
  wait_until_asleep_in_futex(tid());
}

void Party::wait_until_asleep_on(const void* futex) const {
  while (!is_asleep_on(tid(), futex)) {
    const char state = state_of(tid());
    if (state == '\0' || state == 'Z' || state == 'X')
      return ADD_FAILURE() << "the party has ended, expected it to sleep on the lock";
    sched_yield();
  }
}

char state_of(pid_t tid) {
  std::ifstream file("/proc/" + std::to_string(tid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() ? '\0' : text[name_end + 2];
}

const void* futex_slept_on(pid_t tid) {
  std::ifstream file("/proc/" + std::to_string(tid) + "/syscall");
  long number = -1;
  std::uintptr_t address = 0;
  const bool is_futex = file >> std::dec >> number >> std::hex >> address && number == SYS_futex;
  return is_futex && state_of(tid) == 'S' ? reinterpret_cast<const void*>(address) : nullptr;
}

void wait_until_asleep_in_futex(pid_t tid) {
  while (futex_slept_on(tid) == nullptr) sched_yield();
}

}  // namespace support
