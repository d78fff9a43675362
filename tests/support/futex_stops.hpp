// A process that is held at the futex calls it makes (ptrace(2)).
#ifndef HEIRLOCK_TESTS_SUPPORT_FUTEX_STOPS_HPP
#define HEIRLOCK_TESTS_SUPPORT_FUTEX_STOPS_HPP

#include <sys/types.h>

namespace support {

/// Traces a child of the calling thread, wherever it is. In a stop it stays until the test lets it go on, or
/// kills it. Destroy this before the child is joined.
class FutexStops {
 public:
  /// Begins to trace. The child is stopped; a sleep it was in will begin anew. `futex` lies in memory that
  /// the child shares at the same address. Calls on other futexes, and other calls, pass unnoticed.
  FutexStops(pid_t child, const void* futex);
  FutexStops(const FutexStops&) = delete;
  FutexStops& operator=(const FutexStops&) = delete;
  /// Lets the child run on untraced, if it lives.
  ~FutexStops();

  /// Whether this system lets a process trace its child.
  static bool are_permitted();

  /// Lets it run, and returns when it is about to make a call with this operation: nothing of the call has
  /// happened. Returns false when the child has ended instead; it is not reaped.
  bool run_to_call(int operation);
  /// Lets it run, and returns when a call with this operation is over and nothing has happened since. Returns
  /// false when the child has ended instead.
  bool run_to_return(int operation);
  /// From a stop before a wait: lets it go on, and returns when it is asleep.
  void fall_asleep();

 private:
  bool run_to(int operation, int side);
  void resume(int signal = 0);
  void wait_for_stop();

  const pid_t child_;
  const void* const futex_;
  bool is_alive_ = true;
  bool is_stopped_ = false;
  int operation_ = -1;  // of the futex call that it is in, or was in last
  int side_ = 0;        // of the call at which it has stopped
  int signal_ = 0;      // with which it has stopped
};

}  // namespace support
#endif
