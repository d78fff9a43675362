// The program of the actors, which knows of a test nothing but its board:
//
//   heirlock_property_actor BOARD serve        forks processes of actors, as the board asks
//   heirlock_property_actor BOARD go-on SLOT   what a process of actors becomes by exec: one actor, with this
//   slot
//
// BOARD is the number of an open file.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "heirlock/shared.hpp"
#include "property/board.hpp"
#include "property/lock_by_hand.hpp"

namespace property {
namespace {

using heirlock::AcquireResult;
using heirlock::Shared;
using model::Action;
using model::Outcome;

Board* board = nullptr;
const char* board_file = "";

// --- The locks, as this process has them mapped ---------------------------------------------------------

std::mutex mappings_mutex;
std::optional<Shared<Guarded>> mappings[max_locks];

Guarded& mapped(std::size_t lock) {
  const std::lock_guard guard(mappings_mutex);
  return **mappings[lock];
}

// Maps it anew before the old mapping ends, so that it moves.
void map(std::size_t lock) {
  const std::lock_guard guard(mappings_mutex);
  mappings[lock] = Shared<Guarded>::open(board->names[lock]);
}

void map_all() {
  for (std::size_t lock = 0; lock < board->locks; ++lock) map(lock);
}

std::atomic<int> threads_of_process{1};

// --- An actor -------------------------------------------------------------------------------------------

class Actor {
 public:
  explicit Actor(std::size_t number) { become(number); }

  // Says that it is there. Returns when it is told to end.
  void obey() {
    answer();
    for (;;) {
      wait_for(slot_->asked);
      if (slot_->is_to_look)
        look();
      else if (slot_->operation.action == Action::end_thread)
        return;
      else
        slot_->outcome = act(slot_->operation);
      answer();
    }
  }

 private:
  void become(std::size_t number) {
    number_ = static_cast<int>(number);
    slot_ = &board->slots[number];
    LockByHand::set_clock(slot_->time_is_over);
    slot_->process = getpid();
    slot_->tid = static_cast<pid_t>(syscall(SYS_gettid));
  }

  void answer() {
    ++slot_->answers;
    sem_post(&board->answered);
  }

  void look() {
    for (std::size_t lock = 0; lock < board->locks; ++lock) {
      const heirlock::ReentrantLock& seen = mapped(lock).lock;
      slot_->views[lock] = {seen.depth(), seen.is_owned(), seen.owner(), seen.needs_repair()};
    }
  }

  Outcome act(const model::Operation& operation) {
    try {
      return board->has_backstop ? act_on_shipped_lock(operation) : act_by_hand(operation);
    } catch (const heirlock::AssertionError&) {
      return Outcome::refused;
    }
  }

  Outcome act_on_shipped_lock(const model::Operation& operation) {
    heirlock::ReentrantLock& lock = mapped(operation.lock).lock;
    return act_by(lock, operation, [&] { return lock.acquire_for(std::chrono::milliseconds(2)); });
  }

  Outcome act_by_hand(const model::Operation& operation) {
    LockByHand lock(mapped(operation.lock).lock);
    return act_by(lock, operation, [&] { return lock.acquire_until_time_is_over(); });
  }

  // By either view of the lock, which differ in what time is.
  template <class Lock, class AcquireFor>
  Outcome act_by(Lock& lock, const model::Operation& operation, AcquireFor acquire_for) {
    Guarded& guarded = mapped(operation.lock);
    slot_->futex = &guarded.lock;
    switch (operation.action) {
      case Action::acquire:
        return entered(guarded, lock.acquire());
      case Action::acquire_for:
        return entered(guarded, acquire_for());
      case Action::try_acquire:
        return entered(guarded, lock.try_acquire());
      case Action::release:
        leave_if_last(guarded);
        return lock.release(), Outcome::done;
      case Action::repaired:
        return lock.repaired(), Outcome::done;
      case Action::abandon:
        guarded.occupant = model::nobody;
        return LockByHand(guarded.lock).abandon(), Outcome::done;
      case Action::reopen:
        return map(operation.lock), Outcome::done;
      case Action::fork:
        if (const std::size_t newcomer = slot_->newcomer; fork() == 0) {
          threads_of_process = 1;
          become(newcomer);
        }
        return Outcome::done;  // in both: the child answers as who it is now
      case Action::exec: {
        const std::string newcomer = std::to_string(slot_->newcomer);
        // Not /proc/self: it shows the leader, which may have ended.
        execl("/proc/thread-self/exe", "heirlock_property_actor", board_file, "go-on", newcomer.c_str(),
              nullptr);
        std::perror("heirlock_property_actor: exec of itself");
        std::abort();
      }
      case Action::give_up:  // these are done to an actor
      case Action::end_thread:
      case Action::kill:
      case Action::stop:
      case Action::go_on:
        break;
    }
    std::abort();
  }

  Outcome entered(Guarded& guarded, AcquireResult result) {
    switch (result) {
      case AcquireResult::not_acquired:
        return Outcome::not_acquired;
      case AcquireResult::reentered:
        return Outcome::reentered;
      case AcquireResult::acquired:
      case AcquireResult::inherited:
        slot_->found_inside = guarded.occupant.exchange(number_);
        return result == AcquireResult::acquired ? Outcome::acquired : Outcome::inherited;
    }
    std::abort();
  }

  void leave_if_last(Guarded& guarded) {
    if (guarded.lock.depth() == 1) guarded.occupant = model::nobody;
  }

  int number_ = 0;
  Slot* slot_ = nullptr;
};

// The last to end takes the process with it, threads of a sanitizer's included, and destroys nothing: the
// locks that it holds are to stay mapped.
void end_of_thread() {
  if (--threads_of_process == 0) _exit(0);
}

[[noreturn]] void be_first_thread(std::size_t slot) {
  Actor(slot).obey();
  end_of_thread();
  pthread_exit(nullptr);  // the process lives on with its other threads
}

void be_another_thread(std::size_t slot) {
  ++threads_of_process;
  std::thread([slot] {
    Actor(slot).obey();
    end_of_thread();
  }).detach();
}

// --- The server -----------------------------------------------------------------------------------------

// The test is over, or was killed.
void end_all(int) {
  for (const Slot& slot : board->slots)
    if (slot.process > 0) kill(slot.process, SIGKILL);
  _exit(0);
}

[[noreturn]] void serve() {
  signal(SIGTERM, end_all);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // of those whose parents die; SIGCHLD is ignored, so all are reaped
  for (;;) {
    wait_for(board->process_wanted);
    const std::size_t first = board->first_slot;
    const std::size_t count = board->slots_of_process;
    if (fork() != 0) continue;
    signal(SIGTERM, SIG_DFL);
    map_all();
    for (std::size_t slot = first + 1; slot < first + count; ++slot) be_another_thread(slot);
    be_first_thread(first);
  }
}

void map_board() {
  void* const memory =
      mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, std::atoi(board_file), 0);
  if (memory == MAP_FAILED) {
    std::perror("heirlock_property_actor: mmap of the board");
    std::exit(2);
  }
  board = static_cast<Board*>(memory);
}

}  // namespace
}  // namespace property

int main(int argc, char** argv) {
  using namespace property;
  if (argc < 3)
    return std::fputs("heirlock_property_actor: found no board; the property tests give one\n", stderr), 2;
  board_file = argv[1];
  map_board();
  signal(SIGCHLD, SIG_IGN);
  struct sigaction ends_a_sleep = {};
  ends_a_sleep.sa_handler = [](int) {};
  sigaction(SIGUSR1, &ends_a_sleep, nullptr);
  if (argc == 3) serve();
  map_all();
  be_first_thread(static_cast<std::size_t>(std::atoi(argv[3])));
}
