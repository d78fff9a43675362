// Parties to a test: the same body as a thread or as a process.
#ifndef HEIRLOCK_TESTS_SUPPORT_PARTY_HPP
#define HEIRLOCK_TESTS_SUPPORT_PARTY_HPP

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <thread>

#include "support/child.hpp"
#include "support/shared_memory.hpp"
#include "support/thread_state.hpp"

namespace support {

enum class As { thread, process };
std::ostream& operator<<(std::ostream& out, As as);

/// One party, started at once. Its body may use what lies in shared memory, and EXPECT and ASSERT: a failure
/// in a process fails the test that joins it. A party that is not joined is, when it is destroyed.
class Party {
 public:
  Party(As as, std::function<void()> body);
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;
  ~Party();

  /// Waits until it has ended, and fails the test if a process did so by anything else than returning without
  /// a failure.
  void join();
  /// Processes only: kills it with SIGKILL and reaps it.
  void kill();
  /// Processes only: sends a signal; waits until it has stopped if that is SIGSTOP.
  void signal(int number);
  /// Its thread id, which is the process id if it is a process.
  pid_t tid() const;
  /// Returns as soon as it sleeps on the futex at this address: a lock's, that is, and not a Gate's. Fails
  /// the test, and returns, if the party has ended.
  void wait_until_asleep_on(const void* futex) const;

 private:
  InSharedMemory<std::atomic<pid_t>> tid_;
  std::thread thread_;
  std::unique_ptr<Child> process_;
};

/// Returns as soon as the thread sleeps on this futex. Fails the test, and returns, if the thread has ended.
void wait_until_asleep_on(pid_t tid, const void* futex);
/// Returns as soon as it sleeps on any.
void wait_until_asleep_in_futex(pid_t tid);

}  // namespace support
#endif
