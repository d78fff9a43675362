#include "support/child.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>

#include "support/party.hpp"

namespace support {

std::ostream& operator<<(std::ostream& out, Birth birth) {
  static const char* const names[] = {"fork", "fork_without_handlers", "clone", "clone3"};
  return out << names[static_cast<int>(birth)];
}

pid_t make_child(Birth birth, pid_t tid) {
  switch (birth) {
    case Birth::fork:
      return fork();
    case Birth::fork_without_handlers: {
      // Looked up, as libcs older than glibc 2.34 do not have it.
      const auto fork_without_handlers = reinterpret_cast<pid_t (*)()>(dlsym(RTLD_DEFAULT, "_Fork"));
      if (fork_without_handlers != nullptr) return fork_without_handlers();
      errno = ENOSYS;
      return -1;
    }
    case Birth::clone:
      return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    case Birth::clone3: {
      clone_args arguments{};
      arguments.exit_signal = SIGCHLD;
      if (tid != 0) {
        arguments.set_tid = reinterpret_cast<std::uintptr_t>(&tid);
        arguments.set_tid_size = 1;
      }
      return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
    }
  }
  errno = EINVAL;
  return -1;
}

bool can_make_child(Birth birth) {
  const pid_t child = make_child(birth);
  if (child == 0) _exit(0);
  return child > 0 && waitpid(child, nullptr, 0) == child;
}

Child::Child(Birth birth, const std::function<void()>& body, pid_t tid) {
  const pid_t parent = getpid();
  process_ = make_child(birth, tid);
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // A parent in another PID namespace shows as 0.
    if (const pid_t found = static_cast<pid_t>(syscall(SYS_getppid)); found != parent && found != 0) _exit(1);
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "a child ended by the exception: " << error.what();
    }
    fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  if (process_ < 0) ADD_FAILURE() << "a child could not be made by " << birth << ", errno " << errno;
}

Child::~Child() {
  join();
}

void Child::join() {
  if (process_ <= 0) return;
  int status = 0;
  EXPECT_EQ(waitpid(process_, &status, 0), process_);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "a child ended with wait status " << status << "; its own messages stand above";
  process_ = 0;
}

void Child::kill() {
  if (process_ <= 0) return;
  EXPECT_EQ(::kill(process_, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(waitpid(process_, &status, 0), process_);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      << "it had ended before, with wait status " << status;
  process_ = 0;
}

void Child::wait_until_asleep_on(const void* futex) const {
  support::wait_until_asleep_on(process_, futex);
}

}  // namespace support
