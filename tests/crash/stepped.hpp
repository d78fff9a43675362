// A process that is held between two of its machine instructions (ptrace(2)).
#ifndef HEIRLOCK_TESTS_CRASH_STEPPED_HPP
#define HEIRLOCK_TESTS_CRASH_STEPPED_HPP

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace crash {

enum class Stop { trapped, asleep, ended };

/// Blocks SIGCHLD, by which a tracer can wait for a stop and still look up. Call it once, before all else.
void prepare_to_trace();
/// Whether the process sleeps in a wait on one of these futexes. They lie in memory shared at the same
/// address.
bool is_asleep(pid_t process, const std::vector<const void*>& futexes);

/// Of a child that has asked to be traced and stopped itself.
class Stepped {
 public:
  /// `futexes` are those on which it may sleep.
  Stepped(pid_t process, std::vector<const void*> futexes);

  pid_t pid() const { return process_; }
  std::uintptr_t next_instruction() const;
  /// Executes one instruction. A system call in which it falls asleep is given up as `asleep`; wait() goes
  /// on.
  Stop step();
  /// Runs until it is about to execute the instruction at this address.
  Stop run_to(std::uintptr_t address);
  /// Runs until it is about to make a system call, or has just made one.
  Stop run_to_system_call();
  /// Runs until it is asleep; when it is woken it stops before it has executed anything.
  Stop run_until_asleep();
  /// Goes on waiting for the stop after `asleep`. Says `asleep` again only of another sleep.
  Stop wait();
  /// Lets it run on untraced.
  void let_go();
  /// By SIGKILL, wherever it is; and reaps it.
  void kill();

 private:
  void resume(int request);
  std::string sleep_number() const;

  pid_t process_;
  std::vector<const void*> futexes_;
  std::string last_sleep_;
};

}  // namespace crash
#endif
