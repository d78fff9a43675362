// heirlock-stress as its user sees it.
#include "program.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

using stress::contains;
using stress::Program;

namespace {

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
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

// Spec: stress.interrupt
TEST(Program, ctrl_c_on_a_terminal_ends_the_run_that_shows_its_progress) {
  Program program({"--processes", "2", "--seconds", "86400"}, Program::Output::terminal);
  ASSERT_TRUE(program.read_until("waiting longest")) << program.printed();
  program.type('\x03');
  EXPECT_EQ(program.end(), 0) << program.printed() << program.complained();
  EXPECT_TRUE(contains(program.printed(), "INTERRUPTED after")) << program.printed();
}

}  // namespace
