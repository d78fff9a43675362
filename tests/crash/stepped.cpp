#include "stepped.hpp"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "support/machine.hpp"
#include "support/thread_state.hpp"

namespace crash {
namespace {

// A stop at a system call, told from a signal's by PTRACE_O_TRACESYSGOOD.
constexpr int system_call_stop = SIGTRAP | 0x80;

void require(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "crash: %s of a child failed: %s\n", what, std::strerror(errno));
  std::abort();
}

sigset_t child_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  return signals;
}

}  // namespace

void prepare_to_trace() {
  const sigset_t signals = child_signal();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
}

bool is_asleep(pid_t process, const std::vector<const void*>& futexes) {
  const void* const slept_on = support::futex_slept_on(process);
  return std::find(futexes.begin(), futexes.end(), slept_on) != futexes.end();
}

Stepped::Stepped(pid_t process, std::vector<const void*> futexes)
    : process_(process), futexes_(std::move(futexes)) {
  int status = 0;
  require(waitpid(process_, &status, 0) == process_ && WIFSTOPPED(status),
          "waiting for a traced child's stop");
  require(ptrace(PTRACE_SETOPTIONS, process_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0,
          "ptrace(PTRACE_SETOPTIONS)");
}

std::uintptr_t Stepped::next_instruction() const {
  return support::next_instruction(process_);
}

void Stepped::resume(int request) {
  require(ptrace(static_cast<__ptrace_request>(request), process_, nullptr, nullptr) == 0,
          "resuming by ptrace");
}

Stop Stepped::step() {
  support::resume_for_a_step(process_);
  return wait();
}

Stop Stepped::run_to(std::uintptr_t address) {
  if (support::is_stopped_again_by_its_breakpoint && next_instruction() == address) {
    support::set_breakpoint(process_, 0);
    const Stop stop = step();
    if (stop != Stop::trapped || next_instruction() == address) return stop;
  }
  support::set_breakpoint(process_, address);
  resume(PTRACE_CONT);
  return wait();
}

Stop Stepped::run_to_system_call() {
  resume(PTRACE_SYSCALL);
  return wait();
}

Stop Stepped::run_until_asleep() {
  for (;;) {
    const Stop stop = run_to_system_call();
    if (stop != Stop::trapped) return stop;
  }
}

Stop Stepped::wait() {
  constexpr timespec a_while{0, 300'000};
  const sigset_t signals = child_signal();
  for (;;) {
    int status = 0;
    const pid_t found = waitpid(process_, &status, WNOHANG);
    require(found >= 0, "waitpid");
    if (found == process_) {
      if (!WIFSTOPPED(status)) {
        process_ = 0;
        return Stop::ended;
      }
      const int signal = WSTOPSIG(status);
      return signal == SIGTRAP || signal == system_call_stop ? Stop::trapped : Stop::ended;
    }
    if (sigtimedwait(&signals, nullptr, &a_while) == SIGCHLD || !is_asleep(process_, futexes_)) continue;
    const std::string sleep = sleep_number();
    if (sleep == last_sleep_) continue;
    last_sleep_ = sleep;
    return Stop::asleep;
  }
}

// A sleep is told from the one before by how often the process has given up the processor.
std::string Stepped::sleep_number() const {
  std::ifstream lines("/proc/" + std::to_string(process_) + "/status");
  for (std::string line; std::getline(lines, line);)
    if (line.rfind("voluntary_ctxt_switches:", 0) == 0) return line;
  return "";
}

void Stepped::let_go() {
  support::set_breakpoint(process_, 0);
  require(ptrace(PTRACE_DETACH, process_, nullptr, nullptr) == 0, "ptrace(PTRACE_DETACH)");
}

void Stepped::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = 0;
}

}  // namespace crash
