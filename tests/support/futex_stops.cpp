#include "support/futex_stops.hpp"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "support/party.hpp"

namespace support {
namespace {

// A stop at a system call, told from a signal's by PTRACE_O_TRACESYSGOOD.
constexpr int system_call_stop = SIGTRAP | 0x80;

}  // namespace

FutexStops::FutexStops(pid_t child, const void* futex) : child_(child), futex_(futex) {
  EXPECT_EQ(ptrace(PTRACE_SEIZE, child_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0)
      << std::strerror(errno);
  EXPECT_EQ(ptrace(PTRACE_INTERRUPT, child_, nullptr, nullptr), 0) << std::strerror(errno);
  wait_for_stop();
}

FutexStops::~FutexStops() {
  if (is_alive_ && !is_stopped_) {
    ptrace(PTRACE_INTERRUPT, child_, nullptr, nullptr);
    wait_for_stop();
  }
  if (is_alive_) ptrace(PTRACE_DETACH, child_, nullptr, signal_);
}

bool FutexStops::are_permitted() {
  const pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  const bool permitted = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return permitted;
}

bool FutexStops::run_to_call(int operation) {
  return run_to(operation, PTRACE_SYSCALL_INFO_ENTRY);
}

bool FutexStops::run_to_return(int operation) {
  return run_to(operation, PTRACE_SYSCALL_INFO_EXIT);
}

void FutexStops::fall_asleep() {
  resume();
  wait_until_asleep_in_futex(child_);
}

bool FutexStops::run_to(int operation, int side) {
  while (is_alive_) {
    if (is_stopped_) resume(signal_);
    wait_for_stop();
    if (side_ == side && operation_ == operation) return true;
  }
  return false;
}

void FutexStops::resume(int signal) {
  EXPECT_EQ(ptrace(PTRACE_SYSCALL, child_, nullptr, signal), 0) << std::strerror(errno);
  is_stopped_ = false;
}

void FutexStops::wait_for_stop() {
  side_ = signal_ = 0;
  siginfo_t what{};
  if (waitid(P_PID, static_cast<id_t>(child_), &what, WSTOPPED | WEXITED | WNOWAIT) != 0 ||
      what.si_code == CLD_EXITED || what.si_code == CLD_KILLED || what.si_code == CLD_DUMPED) {
    is_alive_ = false;
    return;
  }
  int status = 0;
  EXPECT_EQ(waitpid(child_, &status, 0), child_);
  is_stopped_ = true;
  if (WSTOPSIG(status) != system_call_stop) {
    const bool is_a_signals = status >> 16 == 0;  // and not ptrace's own
    signal_ = is_a_signals ? WSTOPSIG(status) : 0;
    return;
  }
  __ptrace_syscall_info info{};
  EXPECT_GT(ptrace(PTRACE_GET_SYSCALL_INFO, child_, sizeof info, &info), 0) << std::strerror(errno);
  side_ = info.op;
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;  // then it belongs to the entry seen last
  const bool is_ours =
      info.entry.nr == SYS_futex && info.entry.args[0] == reinterpret_cast<std::uintptr_t>(futex_);
  operation_ = is_ours ? static_cast<int>(info.entry.args[1]) & FUTEX_CMD_MASK : -1;
}

}  // namespace support
