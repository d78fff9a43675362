// A process that stops before and after each of its system calls (ptrace(2)).
#ifndef HEIRLOCK_TESTS_SUPPORT_TRACED_HPP
#define HEIRLOCK_TESTS_SUPPORT_TRACED_HPP

#include <sys/types.h>

#include <functional>
#include <string>

namespace support {

/// Runs `body` in a process of its own, up to where it is about to begin. What a process does to files it
/// does in system calls: between two of its stops, others see nothing change.
class Traced {
 public:
  explicit Traced(std::function<void()> body);
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;
  /// Kills it if it has not ended.
  ~Traced();

  /// Whether this system lets a process trace its child.
  static bool is_permitted();

  pid_t pid() const { return process_; }

  /// Goes on to the next stop; returns false when the process has ended instead.
  bool go_on();
  /// As go_on(), in two halves: lets it go on, and waits for its next stop.
  void resume();
  bool wait_for_stop();
  /// Executes one instruction; returns false when the process has ended instead.
  bool step();
  /// Goes on until it is about to make the system call with this number; returns false when the process has
  /// ended instead.
  bool go_on_until_it_calls(long number);
  /// Goes on until it is about to open this path; returns false when the process has ended instead.
  bool go_on_until_it_opens(const std::string& path);
  /// Lets it go on to its end, no longer traced. Returns whether it ended by returning from the body without
  /// a failure of the test.
  bool finish();
  void kill();

 private:
  bool is_about_to_call(long number) const;
  bool is_about_to_open(const std::string& path) const;

  pid_t process_;
  int wait_status_ = 0;
  int signal_ = 0;  // its own, to be handed on
};

}  // namespace support
#endif
