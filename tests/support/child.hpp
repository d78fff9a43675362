// Processes made in every way that gives them memory of their own.
#ifndef HEIRLOCK_TESTS_SUPPORT_CHILD_HPP
#define HEIRLOCK_TESTS_SUPPORT_CHILD_HPP

#include <sys/types.h>

#include <functional>
#include <ostream>

namespace support {

enum class Birth {
  fork,
  fork_without_handlers,  ///< glibc's _Fork: no handlers of pthread_atfork run
  clone,                  ///< the system call: libc does not even know that there is a new process
  clone3,                 ///< likewise
};
std::ostream& operator<<(std::ostream& out, Birth birth);

/// As fork(2): 0 in the child, its process id in the parent; -1 with errno ENOSYS where the system has no
/// such call. A child made otherwise than by fork is fit for what does not start threads. `tid`, for clone3
/// alone, is the thread id that the child shall have, or 0.
pid_t make_child(Birth birth, pid_t tid = 0);
/// Whether this system can make a child like that.
bool can_make_child(Birth birth);

/// A child process, started at once. Its body may use what lies in shared memory, and EXPECT and ASSERT: a
/// failure in it fails the test that joins it. It is killed when the thread that made it ends. A child that
/// is not joined or killed is joined when it is destroyed.
class Child {
 public:
  Child(Birth birth, const std::function<void()>& body, pid_t tid = 0);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return process_; }
  /// Waits until it has ended; fails the test if it did so otherwise than by returning without a failure.
  void join();
  /// Kills it with SIGKILL and reaps it. Fails the test if a failure, or anything else, had ended it before.
  void kill();
  /// Returns as soon as it sleeps on the futex at this address. Fails the test, and returns, if it has ended.
  void wait_until_asleep_on(const void* futex) const;

 private:
  pid_t process_;
};

}  // namespace support
#endif
