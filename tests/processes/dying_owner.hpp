// Every way for an owner to end.
#ifndef HEIRLOCK_TESTS_PROCESSES_DYING_OWNER_HPP
#define HEIRLOCK_TESTS_PROCESSES_DYING_OWNER_HPP

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <ostream>

#include "support/shared_memory.hpp"

enum class Death {
  by_sigkill,
  by_underscore_exit,
  by_exit,
  by_abort,
  by_end_of_thread,          ///< a thread ends, its process lives on
  by_end_of_leader,          ///< the first thread ends, and is a zombie for as long as its process lives
  by_exec_of_leader,         ///< the first thread calls exec; the program has the owner's thread id
  by_exec_of_other_thread,   ///< another thread calls exec; nobody has the owner's thread id any more
  by_exec_of_a_thread_mate,  ///< the owner is ended because another thread of its process calls exec
};
std::ostream& operator<<(std::ostream& out, Death death);

/// Whether the kernel itself passes on what the owner held. It does, but for one way (see [kernel.exec]).
constexpr bool kernel_sees(Death death) {
  return death != Death::by_exec_of_other_thread;
}

/// A process with a thread that takes locks and dies as it was told to.
class DyingOwner {
 public:
  /// `take` runs in the thread that will die, and is done when the constructor returns. It may EXPECT.
  DyingOwner(Death death, const std::function<void()>& take);
  DyingOwner(const DyingOwner&) = delete;
  DyingOwner& operator=(const DyingOwner&) = delete;
  /// Ends what is left of the process.
  ~DyingOwner();

  /// Lets it die. When it returns, the thread is dead: if its process ended it is reaped, and if it lives on
  /// the kernel is done with all it does for a thread that ends, or an exec.
  void die();
  pid_t process() const { return process_; }

 private:
  [[noreturn]] void live(Death death, const std::function<void()>& take);
  void take_and_wait_for_death(const std::function<void()>& take);
  [[noreturn]] void exec_a_program_that_sleeps();

  const Death death_;
  support::Gate has_taken_;
  support::Gate may_die_;
  support::Gate is_dead_;
  support::InSharedMemory<std::atomic<bool>> failed_;
  int closed_by_exec_[2] = {-1, -1};
  pid_t process_ = 0;
};

#endif
