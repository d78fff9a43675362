// heirlock-stress as its user sees it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

// A run of the program. Its output comes through a pipe, or through a terminal of its own.
class Program {
 public:
  enum class Output { pipe, terminal };

  Program(std::vector<std::string> arguments, Output output = Output::pipe) {
    int ends[2] = {-1, -1};
    output == Output::pipe ? open_pipe(ends) : open_terminal(ends);
    errors_ = memfd_create("errors", 0);
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const rlimit no_core{0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      setsid();
      if (output == Output::terminal) ioctl(ends[1], TIOCSCTTY, 0);
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
  void type(char key) { ASSERT_EQ(write(output_, &key, 1), 1); }

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
  static void open_pipe(int (&ends)[2]) { ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  static void open_terminal(int (&ends)[2]) {
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(ends[0], 0);
    ASSERT_EQ(grantpt(ends[0]), 0);
    ASSERT_EQ(unlockpt(ends[0]), 0);
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(ends[1], 0);
  }

  [[noreturn]] static void become(std::vector<std::string> arguments) {
    std::vector<char*> pointers{const_cast<char*>(HEIRLOCK_STRESS_PROGRAM)};
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(127);
  }

  bool read_more() {
    char text[4096];
    const ssize_t size = read(output_, text, sizeof text);  // a terminal that all have left is an error
    if (size <= 0) return false;
    printed_.append(text, static_cast<std::size_t>(size));
    return true;
  }

  pid_t process_ = 0;
  int output_ = -1;
  int errors_ = -1;
  std::string printed_;
};

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A child of the process, of which there is at least one.
pid_t child_of(pid_t process) {
  const std::string id = std::to_string(process);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  pid_t child = 0;
  file >> child;
  return child;
}

std::ptrdiff_t threads_of(pid_t process) {
  using Tasks = std::filesystem::directory_iterator;
  return std::distance(Tasks("/proc/" + std::to_string(process) + "/task"), Tasks());
}

// Spec: stress.options
TEST(Program, a_bad_value_gives_one_line_and_status_2) {
  Program program({"--threads", "none"});
  EXPECT_EQ(program.end(), 2);
  EXPECT_EQ(program.complained(),
            "heirlock-stress: --threads: found 'none', expected a whole number from 1 to 64\n");
  EXPECT_EQ(program.printed(), "");
}

// Spec: stress.options
TEST(Program, a_file_that_cannot_be_written_gives_one_line_and_status_2_before_the_run) {
  Program program({"--seconds", "86400", "--json", "/nonexistent/result.json"});
  EXPECT_EQ(program.end(), 2);
  EXPECT_EQ(lines_of(program.complained()), 1) << program.complained();
  EXPECT_TRUE(contains(program.complained(), "/nonexistent/result.json")) << program.complained();
}

// Spec: stress.options
TEST(Program, help_is_printed_with_status_0) {
  Program program({"--help"});
  EXPECT_EQ(program.end(), 0);
  EXPECT_TRUE(contains(program.printed(), "--kills-per-second")) << program.printed();
  EXPECT_EQ(program.complained(), "");
}

// Spec: stress.verdict
TEST(Program, a_run_ends_with_its_table_and_without_a_progress_line_where_nobody_watches) {
  Program program({"--processes", "3", "--seconds", "1", "--kills-per-second", "40", "--seed", "5"});
  EXPECT_EQ(program.end(), 0) << program.printed() << program.complained();
  for (const char* row : {"operations", "kills", "inherited", "recoveries", "timed out", "longest wait",
                          "money lost", "stranded waiters", "wrong owners seen", "--seed 5", "PASSED"})
    EXPECT_TRUE(contains(program.printed(), row)) << program.printed();
  EXPECT_FALSE(contains(program.printed(), "\r")) << program.printed();
}

// Spec: stress.verdict
TEST(Program, a_worker_that_crashes_by_itself_gives_status_1) {
  Program program({"--processes", "2", "--seconds", "3", "--kills-per-second", "0"});
  ASSERT_TRUE(program.read_until("--seed"));
  pid_t worker = 0;
  while (worker == 0) worker = child_of(program.pid());
  kill(worker, SIGILL);
  EXPECT_EQ(program.end(), 1) << program.printed();
  EXPECT_TRUE(contains(program.printed(), "failed workers")) << program.printed();
}

// Spec: stress.interrupt
TEST(Program, an_interrupt_ends_the_run_with_its_table) {
  Program program({"--processes", "2", "--seconds", "86400"});
  ASSERT_TRUE(program.read_until("--seed"));
  kill(program.pid(), SIGINT);
  EXPECT_EQ(program.end(), 0) << program.printed() << program.complained();
  EXPECT_TRUE(contains(program.printed(), "interrupted after")) << program.printed();
  EXPECT_TRUE(contains(program.printed(), "wrong owners seen")) << program.printed();
}

// Spec: stress.interrupt
TEST(Program, a_second_interrupt_ends_at_once_what_the_first_cannot) {
  Program program({"--processes", "2", "--threads", "9", "--seconds", "86400", "--kills-per-second", "0"});
  ASSERT_TRUE(program.read_until("--seed"));
  pid_t worker = 0;
  while (worker == 0) worker = child_of(program.pid());
  // Before it starts threads, it sees to it that it does not outlive the supervisor.
  while (threads_of(worker) < 9) sched_yield();
  kill(worker, SIGSTOP);  // it will not come to its end
  while (!program.has_ended()) kill(program.pid(), SIGINT);
  EXPECT_EQ(program.end(), 128 + SIGINT) << program.printed();
}

// Spec: stress.interrupt
TEST(Program, ctrl_c_on_a_terminal_ends_the_run_that_shows_its_progress) {
  Program program({"--processes", "2", "--seconds", "86400"}, Program::Output::terminal);
  ASSERT_TRUE(program.read_until("waiting longest")) << program.printed();
  program.type('\x03');
  EXPECT_EQ(program.end(), 0) << program.printed() << program.complained();
  EXPECT_TRUE(contains(program.printed(), "interrupted after")) << program.printed();
  EXPECT_TRUE(contains(program.printed(), "PASSED")) << program.printed();
}

}  // namespace
