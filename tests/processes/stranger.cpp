// A program of its own, which knows nothing of a test but a file that holds a lock:
//
//   heirlock_test_stranger sleep              sleeps until it is killed
//   heirlock_test_stranger FILE COMMAND...    does the commands, and says in a line what each came to
//
// FILE is the number of an open file with a lock at its beginning and a second one behind it. The commands:
//
//   acquire try release repaired is-owned     of the lock
//   acquire-other                             of the second one
//   fork fork_without_handlers clone clone3   makes a child; the child goes on, the parent waits for it
//   end-of-leader                             ends the first thread by pthread_exit; the process lives on
//   sleep                                     until it is killed
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "heirlock/reentrant_lock.hpp"
#include "support/acquire_result.hpp"
#include "support/child.hpp"

using heirlock::ReentrantLock;
using support::Birth;

namespace {

void say(const char* command, const char* outcome) {
  std::printf("%s: %s\n", command, outcome);
  std::fflush(stdout);
}

[[noreturn]] void sleep_until_killed() {
  for (;;) pause();
}

// Returns in the child.
void go_on_in_child(const std::string& command) {
  for (const Birth birth : {Birth::fork, Birth::fork_without_handlers, Birth::clone, Birth::clone3}) {
    if (support::name_of(birth) != command) continue;
    const pid_t child = support::make_child(birth);
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      return;
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) std::_Exit(1);
    std::_Exit(WEXITSTATUS(status));
  }
  std::fprintf(stderr, "heirlock_test_stranger: found the command '%s', expected one of those above\n",
               command.c_str());
  std::_Exit(2);
}

void obey(const std::string& command, ReentrantLock* locks) {
  ReentrantLock& lock = locks[0];
  const char* const name = command.c_str();
  try {
    if (command == "acquire") {
      say(name, heirlock::name_of(lock.acquire()));
    } else if (command == "try") {
      say(name, heirlock::name_of(lock.try_acquire()));
    } else if (command == "acquire-other") {
      say(name, heirlock::name_of(locks[1].acquire()));
    } else if (command == "release") {
      lock.release();
      say(name, "done");
    } else if (command == "repaired") {
      lock.repaired();
      say(name, "done");
    } else if (command == "is-owned") {
      say(name, lock.is_owned() ? "yes" : "no");
    } else if (command == "end-of-leader") {
      std::thread(sleep_until_killed).detach();
      pthread_exit(nullptr);
    } else if (command == "sleep") {
      sleep_until_killed();
    } else {
      go_on_in_child(command);
    }
  } catch (const heirlock::AssertionError&) {
    say(name, "AssertionError");
  } catch (const std::system_error& error) {
    say(name, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argc == 2 && std::string(argv[1]) == "sleep") sleep_until_killed();
  void* const memory =
      mmap(nullptr, 2 * sizeof(ReentrantLock), PROT_READ | PROT_WRITE, MAP_SHARED, std::atoi(argv[1]), 0);
  if (memory == MAP_FAILED) {
    std::perror("heirlock_test_stranger: mmap of the locks' file");
    return 2;
  }
  for (int i = 2; i < argc; ++i) obey(argv[i], static_cast<ReentrantLock*>(memory));
}
