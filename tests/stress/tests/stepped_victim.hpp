// A process that is killed after so many machine instructions.
#ifndef HEIRLOCK_TESTS_STRESS_TESTS_STEPPED_VICTIM_HPP
#define HEIRLOCK_TESTS_STRESS_TESTS_STEPPED_VICTIM_HPP

#include <sys/types.h>

#include <atomic>
#include <functional>

#include "support/shared_memory.hpp"

namespace stress {

/// Runs `prepare` freely and then stands before the first instruction of `body`. It is killed when it is
/// destroyed. (ptrace(2))
class SteppedVictim {
 public:
  SteppedVictim(const std::function<void()>& prepare, const std::function<void()>& body);
  SteppedVictim(const SteppedVictim&) = delete;
  SteppedVictim& operator=(const SteppedVictim&) = delete;
  ~SteppedVictim();

  /// Whether this system lets a process trace its child.
  bool is_traced() const { return process_ > 0; }
  /// Executes so many instructions; fewer when the body ends before.
  void step(long instructions);
  bool has_ended() const { return *has_ended_; }

 private:
  support::InSharedMemory<std::atomic<bool>> has_ended_;
  pid_t process_;
};

}  // namespace stress
#endif
