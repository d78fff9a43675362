// heirlock-stress as its user sees it: its end, every fault, several locks, and the locks it is compared
// with.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stress/faults.hpp"

namespace {

// A run of the program.
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

  // Reads until this text has come; returns false when the output ends without it.
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
  // Waits for its end. Returns its exit status, or 128 and its signal.
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
  EXPECT_EQ(program.complained(), "heirlock-stress: --threads: 'none' is not a whole number from 1 to 64\n");
  EXPECT_EQ(program.printed(), "");
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
  for (const int signal : {SIGINT, SIGTERM}) {
    Program program({"--processes", "2", "--seconds", "86400"});
    ASSERT_TRUE(program.read_until("--seed"));
    kill(program.pid(), signal);
    EXPECT_EQ(program.end(), 0) << program.printed() << program.complained();
    EXPECT_TRUE(contains(program.printed(), "INTERRUPTED after")) << program.printed();
    EXPECT_TRUE(contains(program.printed(), "wrong owners seen")) << program.printed();
  }
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

// --- The load ----------------------------------------------------------------------------------------------

struct Outcome {
  int status;
  std::string text;
};

Outcome outcome_of(std::vector<std::string> arguments) {
  Program program(std::move(arguments));
  const int status = program.end();
  return {status, program.printed() + program.complained()};
}

// The number in that row of the table, -1 if there is no such row.
long number_in(const std::string& text, const std::string& row) {
  const std::size_t found = text.find("\n  " + row + " ");
  if (found == std::string::npos) return -1;
  std::string digits;
  for (std::size_t i = found + row.size() + 3; i < text.size() && text[i] != '\n'; ++i) {
    if (text[i] >= '0' && text[i] <= '9') digits += text[i];
    if (text[i] == ' ' && !digits.empty()) break;
  }
  return std::stol(digits);
}

std::string row_of(std::string_view fault) {
  return fault == "kill" ? "kills" : "fault: " + std::string(fault);
}

// As gtest wants names: without hyphens.
std::string name_of(const testing::TestParamInfo<std::string_view>& instance) {
  std::string name(instance.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class EachFault : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Of, EachFault, testing::ValuesIn(stress::fault_names), name_of);

// Spec: stress.faults
TEST_P(EachFault, takes_place_alone_and_the_lock_survives_it) {
  const char* const rate = GetParam() == "kill" ? "--kills-per-second" : "--faults-per-second";
  const Outcome outcome = outcome_of({"--processes", "3", "--threads", "3", "--seconds", "1.5", "--faults",
                                      std::string(GetParam()), rate, "50", "--seed", "3"});
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  for (const std::string_view fault : stress::fault_names) {
    if (fault == GetParam())
      EXPECT_GT(number_in(outcome.text, row_of(fault)), 0) << fault << outcome.text;
    else
      EXPECT_LE(number_in(outcome.text, row_of(fault)), 0) << fault << outcome.text;
  }
  const bool is_death = GetParam() == "kill" || GetParam() == "exit" || GetParam().substr(0, 4) == "exec";
  EXPECT_EQ(number_in(outcome.text, "inherited") > 0, is_death) << outcome.text;
}

// Spec: stress.faults, stress.locks
TEST(Load, all_faults_together_on_several_locks_lose_nothing) {
  const Outcome outcome = outcome_of({"--processes", "4", "--threads", "3", "--seconds", "3", "--faults",
                                      "all", "--locks", "5", "--seed", "3"});
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_GT(number_in(outcome.text, "inherited"), 0) << outcome.text;
}

// --- Other locks -------------------------------------------------------------------------------------------

class Alternative : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Of, Alternative, testing::Values("pthread-robust", "pthread", "sem"), name_of);

// Spec: stress.alternatives
TEST_P(Alternative, passes_where_nobody_dies) {
  const Outcome outcome = outcome_of({"--lock", std::string(GetParam()), "--seconds", "1", "--faults",
                                      "timeout,signal", "--locks", "3", "--seed", "3"});
  EXPECT_EQ(outcome.status, 0) << outcome.text;
}

// Spec: stress.verdict
TEST(Load, a_robust_mutex_is_seen_to_strand_those_who_wait_behind_an_owner_that_called_exec) {
  const Outcome outcome = outcome_of({"--lock", "pthread-robust", "--seconds", "86400", "--faults",
                                      "exec-thread", "--faults-per-second", "5", "--seed", "3"});
  EXPECT_EQ(outcome.status, 1) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "waited over 3 s behind an owner that is dead")) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "blocked: 1 lock could not be acquired")) << outcome.text;
}

// Spec: stress.verdict
TEST(Load, a_mutex_that_is_not_robust_is_seen_to_strand_those_who_wait_behind_a_killed_owner) {
  const Outcome outcome =
      outcome_of({"--lock", "pthread", "--seconds", "86400", "--locks", "4", "--seed", "3"});
  EXPECT_EQ(outcome.status, 1) << outcome.text;
  EXPECT_GT(number_in(outcome.text, "stranded waiters"), 0) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "behind an owner that is dead")) << outcome.text;
}

// Spec: stress.verdict
TEST(Load, a_semaphore_is_seen_to_let_two_owners_in_when_a_forked_child_releases_it) {
  const Outcome outcome =
      outcome_of({"--lock", "sem", "--seconds", "86400", "--faults", "fork", "--seed", "3"});
  EXPECT_EQ(outcome.status, 1) << outcome.text;
  EXPECT_GT(number_in(outcome.text, "wrong owners seen"), 0) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "wrong owner: ")) << outcome.text;
}

}  // namespace
