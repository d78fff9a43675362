#include "support/party.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <utility>

namespace support {

std::ostream& operator<<(std::ostream& out, As as) {
  return out << (as == As::thread ? "thread" : "process");
}

Party::Party(As as, std::function<void()> body) : tid_(0) {
  const auto announce = [this] { *tid_ = static_cast<pid_t>(syscall(SYS_gettid)); };
  if (as == As::thread) {
    thread_ = std::thread([announce, body = std::move(body)] {
      announce();
      try {
        body();
      } catch (const std::exception& error) {
        ADD_FAILURE() << "a party ended by the exception: " << error.what();
      }
    });
    return;
  }
  process_ = std::make_unique<Child>(Birth::fork, [announce, body = std::move(body)] {
    announce();
    body();
  });
}

Party::~Party() {
  join();
}

void Party::join() {
  if (thread_.joinable()) thread_.join();
  if (process_) process_->join();
}

void Party::kill() {
  process_->kill();
}

void Party::signal(int number) {
  ASSERT_EQ(::kill(process_->pid(), number), 0);
  if (number != SIGSTOP) return;
  int status = 0;
  ASSERT_EQ(waitpid(process_->pid(), &status, WUNTRACED), process_->pid());
  ASSERT_TRUE(WIFSTOPPED(status));
}

pid_t Party::tid() const {
  while (*tid_ == 0) sched_yield();
  return *tid_;
}

void Party::wait_until_asleep_on(const void* futex) const {
  support::wait_until_asleep_on(tid(), futex);
}

void wait_until_asleep_on(pid_t tid, const void* futex) {
  for (; !is_asleep_on(tid, futex); sched_yield()) {
    const char state = state_of(tid);
    if (state == '\0' || state == 'Z' || state == 'X')
      return ADD_FAILURE() << "thread " << tid << " has ended and does not sleep on the lock";
  }
}

void wait_until_asleep_in_futex(pid_t tid) {
  while (futex_slept_on(tid) == nullptr) sched_yield();
}

}  // namespace support
