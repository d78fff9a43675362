#include "support/exit_walk.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstddef>
#include <cstdlib>

#include "support/party.hpp"
#include "support/shared_memory.hpp"

namespace support {
namespace {

pid_t fork_to(void (*body)(void*), void* memory) {
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    body(memory);
    _exit(0);
  }
  return child;
}

struct Lock {
  std::uint32_t word;
  robust_list link;
};

// Whether a process that dies with the lock pending wakes the one that sleeps on it.
bool is_woken_at_a_death(std::uint32_t word) {
  InSharedMemory<Lock> lock(Lock{word, {}});
  const pid_t sleeper = fork_to(
      [](void* memory) {
        auto* const at = &static_cast<Lock*>(memory)->word;
        syscall(SYS_futex, at, FUTEX_WAIT, *at, nullptr, nullptr, 0);
      },
      &*lock);
  while (!is_asleep_on(sleeper, &lock->word)) sched_yield();
  const pid_t dying = fork_to(
      [](void* memory) {
        static robust_list_head head{};
        head.list.next = &head.list;
        head.futex_offset = -static_cast<long>(offsetof(Lock, link));
        head.list_op_pending = &static_cast<Lock*>(memory)->link;
        syscall(SYS_set_robust_list, &head, sizeof head);
      },
      &*lock);
  waitpid(dying, nullptr, 0);
  const bool slept_on = syscall(SYS_futex, &lock->word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0) == 1;
  waitpid(sleeper, nullptr, 0);
  return !slept_on;
}

ExitWalk ask() {
  const auto another = static_cast<std::uint32_t>(getpid());
  return !is_woken_at_a_death(FUTEX_WAITERS) ? ExitWalk::before_2022
         : !is_woken_at_a_death(another)     ? ExitWalk::since_2022
                                             : ExitWalk::since_2026;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, ExitWalk walk) {
  switch (walk) {
    case ExitWalk::before_2022:
      return out << "before 2022, which wakes a sleeper on a pending lock if the whole word is 0";
    case ExitWalk::since_2022:
      return out << "since 2022, which wakes a sleeper on a pending lock if nobody holds it";
    case ExitWalk::since_2026:
      return out
             << "since 2026, which wakes a sleeper on a pending lock unless another holds it with WAITERS";
  }
  return out << "none that is known";
}

bool wakes_for_pending(ExitWalk walk, std::uint32_t word) {
  if (walk == ExitWalk::before_2022) return word == 0;
  if ((word & FUTEX_TID_MASK) == 0) return true;
  return walk == ExitWalk::since_2026 && (word & FUTEX_WAITERS) == 0;
}

ExitWalk exit_walk_of_this_kernel() {
  static const ExitWalk walk = ask();
  return walk;
}

}  // namespace support
