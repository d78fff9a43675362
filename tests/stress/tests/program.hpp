// A run of heirlock-stress, as its user sees it.
#ifndef HEIRLOCK_TESTS_STRESS_TESTS_PROGRAM_HPP
#define HEIRLOCK_TESTS_STRESS_TESTS_PROGRAM_HPP

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

namespace stress {

/// A run of the program.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) abort();
    errors_ = memfd_create("errors", 0);
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const rlimit no_core{0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      setsid();
      dup2(ends[1], STDOUT_FILENO);
      dup2(errors_, STDERR_FILENO);
      close(ends[0]);
      close(ends[1]);
      become(std::move(arguments));
    }
    close(ends[1]);
    output_ = ends[0];
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (process_ > 0) end();
    close(output_);
    close(errors_);
  }

  pid_t pid() const { return process_; }

  /// Reads until this text has come; returns false when the output ends without it.
  bool read_until(const std::string& text) {
    while (printed_.find(text) == std::string::npos)
      if (!read_more()) return false;
    return true;
  }

  bool has_ended() const {
    siginfo_t state{};
    waitid(P_PID, static_cast<id_t>(process_), &state, WEXITED | WNOHANG | WNOWAIT);
    return state.si_pid == process_;
  }
  /// Waits for its end. Returns its exit status, or 128 and its signal.
  int end() {
    while (read_more()) continue;
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const std::string& printed() const { return printed_; }
  std::string complained() const {
    char text[4096];
    const ssize_t size = pread(errors_, text, sizeof text, 0);
    return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  }

 private:
  [[noreturn]] static void become(std::vector<std::string> arguments) {
    std::vector<char*> pointers{const_cast<char*>(HEIRLOCK_STRESS_PROGRAM)};
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(127);
  }

  bool read_more() {
    char text[4096];
    const ssize_t size = read(output_, text, sizeof text);
    if (size <= 0) return false;
    printed_.append(text, static_cast<std::size_t>(size));
    return true;
  }

  pid_t process_ = 0;
  int output_ = -1;
  int errors_ = -1;
  std::string printed_;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace stress
#endif
