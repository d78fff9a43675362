#include "stepped_victim.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/machine.hpp"

namespace stress {

SteppedVictim::SteppedVictim(const std::function<void()>& prepare, const std::function<void()>& body)
    : has_ended_(false), process_(fork()) {
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prepare();
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    raise(SIGSTOP);
    body();
    *has_ended_ = true;
    for (;;) pause();
  }
  int status = 0;
  waitpid(process_, &status, 0);
  if (!WIFSTOPPED(status)) process_ = 0;
}

SteppedVictim::~SteppedVictim() {
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

void SteppedVictim::step(long instructions) {
  for (long done = 0; done < instructions && !has_ended(); ++done) {
    int status = 0;
    support::resume_for_a_step(process_);
    waitpid(process_, &status, 0);
    if (!WIFSTOPPED(status)) {
      process_ = 0;
      return;
    }
  }
}

}  // namespace stress
