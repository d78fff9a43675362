// A thread that prepares its robust list and then dies when it is told to.
#ifndef HEIRLOCK_TESTS_SUPPORT_MORTAL_HPP
#define HEIRLOCK_TESTS_SUPPORT_MORTAL_HPP

#include <sys/types.h>

#include <functional>
#include <ostream>
#include <thread>

#include "support/shared_memory.hpp"

namespace kernel {

enum class Death {
  by_sigkill,
  by_exit_group,
  by_end_of_thread,  ///< the test's own process lives on
};
std::ostream& operator<<(std::ostream& out, Death death);
inline const Death each_death[] = {Death::by_sigkill, Death::by_exit_group, Death::by_end_of_thread};

/// Make it before any other thread: it may be a forked process.
class Mortal {
 public:
  /// Returns when `prepare`, which is given the thread's own id, has run in the thread that is to die. What
  /// it writes must lie in shared memory.
  Mortal(Death death, const std::function<void(std::uint32_t tid)>& prepare);
  Mortal(const Mortal&) = delete;
  Mortal& operator=(const Mortal&) = delete;
  ~Mortal();

  pid_t tid() const { return *tid_; }
  /// Lets it die, and does not wait.
  void begin_to_die();
  /// Lets it die, and returns as soon as waitpid or pthread_join has said that it is dead.
  void die();

 private:
  void live(const std::function<void(std::uint32_t tid)>& prepare);

  const Death death_;
  support::InSharedMemory<pid_t> tid_;
  support::Gate prepared_;
  support::Gate may_die_;
  std::thread thread_;
  pid_t process_ = 0;
  bool is_dying_ = false;
};

}  // namespace kernel
#endif
