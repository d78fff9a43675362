// For ci/coverage: a process that ends by _exit() or abort(), as children of the tests do, writes down what
// it has executed, as one that returns from main() does. What a killed process executed is not counted.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>

extern "C" {
#include <gcov.h>  // names C functions, and does not say so
}

namespace {

// Its tracer may kill it at any system call, and a file of counts that is half-written is worth nothing.
bool is_traced() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "TracerPid:") return status >> word && word != "0";
  return false;
}

}  // namespace

// Instead of libc's, in every program that links this.
extern "C" void _exit(int status) {
  if (!is_traced()) __gcov_dump();
  for (;;) syscall(SYS_exit_group, status);
}

// As libc's, but that the counts are written down before.
extern "C" void abort() {
  __gcov_dump();
  raise(SIGABRT);
  signal(SIGABRT, SIG_DFL);
  raise(SIGABRT);
  for (;;) _exit(127);
}
