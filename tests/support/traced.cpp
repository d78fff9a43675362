#include "support/traced.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <vector>

#include "support/machine.hpp"

namespace support {
namespace {

constexpr int not_traceable = 77;

// A stop at a system call, told from a signal's by PTRACE_O_TRACESYSGOOD.
constexpr int system_call_stop = SIGTRAP | 0x80;

}  // namespace

Traced::Traced(std::function<void()> body) : process_(fork()) {
  if (process_ == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(not_traceable);
    raise(SIGSTOP);
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "a traced process ended by the exception: " << error.what();
    }
    fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  waitpid(process_, &wait_status_, 0);
  if (!WIFSTOPPED(wait_status_)) {
    process_ = 0;
    return;
  }
  ptrace(PTRACE_SETOPTIONS, process_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
}

Traced::~Traced() {
  kill();
}

bool Traced::is_permitted() {
  Traced probe([] {});
  return probe.process_ != 0 && probe.finish();
}

bool Traced::go_on() {
  resume();
  return wait_for_stop();
}

void Traced::resume() {
  if (process_ != 0) ptrace(PTRACE_SYSCALL, process_, nullptr, signal_);
  signal_ = 0;
}

bool Traced::wait_for_stop() {
  while (process_ != 0) {
    waitpid(process_, &wait_status_, 0);
    if (!WIFSTOPPED(wait_status_)) break;
    if (WSTOPSIG(wait_status_) == system_call_stop) return true;
    signal_ = WSTOPSIG(wait_status_);
    resume();
  }
  process_ = 0;
  return false;
}

bool Traced::step() {
  resume_for_a_step(process_);
  waitpid(process_, &wait_status_, 0);
  if (WIFSTOPPED(wait_status_)) return true;
  process_ = 0;
  return false;
}

bool Traced::is_about_to_call(long number) const {
  __ptrace_syscall_info info{};
  return ptrace(PTRACE_GET_SYSCALL_INFO, process_, sizeof info, &info) > 0 &&
         info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == static_cast<std::uint64_t>(number);
}

bool Traced::is_about_to_open(const std::string& path) const {
  if (!is_about_to_call(SYS_openat)) return false;
  __ptrace_syscall_info info{};
  ptrace(PTRACE_GET_SYSCALL_INFO, process_, sizeof info, &info);
  std::vector<char> text(path.size() + 1);
  iovec here{text.data(), text.size()};
  iovec there{reinterpret_cast<void*>(info.entry.args[1]), text.size()};
  return process_vm_readv(process_, &here, 1, &there, 1, 0) == static_cast<ssize_t>(text.size()) &&
         std::string(text.data(), path.size()) == path && text.back() == '\0';
}

bool Traced::go_on_until_it_calls(long number) {
  while (go_on())
    if (is_about_to_call(number)) return true;
  return false;
}

bool Traced::go_on_until_it_opens(const std::string& path) {
  while (go_on())
    if (is_about_to_open(path)) return true;
  return false;
}

bool Traced::finish() {
  if (process_ != 0) {
    ptrace(PTRACE_DETACH, process_, nullptr, 0);
    waitpid(process_, &wait_status_, 0);
    process_ = 0;
  }
  return WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == 0;
}

void Traced::kill() {
  if (process_ == 0) return;
  ::kill(process_, SIGKILL);
  waitpid(process_, &wait_status_, 0);
  process_ = 0;
}

}  // namespace support
