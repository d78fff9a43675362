#include "support/exit_walk.hpp"

#include <unistd.h>

#include "support/mortal.hpp"
#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"

namespace support {
namespace {

// Whether a process that dies with the lock pending wakes the one that sleeps on it.
bool is_woken_at_a_death(std::uint32_t word) {
  struct Memory {
    kernel::RobustList list;
    kernel::Node lock;
  };
  InSharedMemory<Memory> memory;
  kernel::Mortal mortal(kernel::Death::by_exit_group, [&](std::uint32_t) {
    memory->list.set_pending(memory->lock);
    memory->list.register_for_this_thread();
  });
  memory->lock.word = word;
  const kernel::Sleepers sleepers(memory->lock.word, 1);
  mortal.die();
  return sleepers.woken() == 1;
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
