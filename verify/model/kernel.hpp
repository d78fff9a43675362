// The machine of the model: threads that may die at every step, and what the kernel does for their locks.
//
// Facts about Linux that are assumed here are rules `kernel.*` of SPECIFICATION.md; tests/kernel holds them
// against the kernel that runs.
#ifndef HEIRLOCK_VERIFY_MODEL_KERNEL_HPP
#define HEIRLOCK_VERIFY_MODEL_KERNEL_HPP

#include <csetjmp>
#include <functional>
#include <optional>

#include "heirlock/detail/lock_algorithm.hpp"
#include "model/relacy.hpp"
#include "model/search.hpp"

namespace heirlock::verify {

struct ModelPlatform;
using Lock = detail::LockMemory<ModelPlatform>;

// A link of a robust list is the address of a lock, or of the head that it leads back to.
using Link = std::uintptr_t;

// Where a step stands in the source does not matter to Relacy: the story below is told by the model.
inline const rl::debug_info nowhere;

// Who keeps account of what must be true of a lock.
class Watcher {
 public:
  virtual void owner_died() = 0;  // in the step in which the word says so

 protected:
  ~Watcher() = default;
};

// The three kinds of Linux's walk over a dying thread's locks. They differ in when it wakes a sleeper for the
// pending one that another thread holds, or nobody.
enum class ExitWalk : std::uint8_t {
  before_2022,  // if the whole word is 0
  since_2022,   // if nobody holds it
  since_2026,   // if nobody holds it, or WAITERS is not set
};

// What a thread is about to do when it may die.
enum class Moment : std::uint8_t {
  working,   // under the lock, in a scenario
  marking,   // setting or clearing its pending mark
  changing,  // the word or owner_id, by a store or a compare-exchange
  counting,  // the depth
  linking,   // a node or the head of its list
  waiting,
  asleep,
  waking,
};

struct ModelThread {
  char name[16] = "";
  std::uint32_t tid = 0;
  std::uint64_t id = 0;
  bool has_used_a_lock = false;
  Link first = 0;    // the head of its robust list
  Link pending = 0;  // list_op_pending
  bool has_listed_a_lock = false;
  const void* quiet[2] = {};
  bool time_is_over = false;
  const void* sleeps_on = nullptr;
  unsigned sleeps = 0;          // how often it has slept
  bool has_been_woken = false;  // since its last step
  bool has_ever_been_woken = false;
  unsigned spurious_returns_left = 0;
  unsigned slices_left = 0;  // that end while the owner lives
  bool slice_has_ended = false;
  bool dead = false;
  bool immortal = false;  // dead already, or a newcomer after the end
  bool missed_by_the_kernel = false;
  std::jmp_buf end_of_role;  // where a thread that dies goes on; nothing between has a destructor
  Access next_access;        // of the step before which the thread stands

  /// Makes this a new thread, the number-th of the scenario.
  void become(const char* new_name, int number);
};

class Kernel {
 public:
  static constexpr int max_threads = 4, max_locks = 2;

  // What a scenario sets before its threads begin.
  int deaths_left = 0;
  // When: at a moment for which this holds, and then for certain; null: at any, as the search likes.
  bool (*death_comes)(Moment moment) = nullptr;
  // Empty: either of the newer two, drawn where an execution first depends on it.
  std::optional<ExitWalk> walk = only_walk;
  static inline std::optional<ExitWalk> only_walk;  // of the whole run
  bool quiet_is_random = false;  // whether a thread's note of a vain wake-up is drawn at each look
  // What holds up a thread that has heard that an owner is gone; empty: nothing.
  std::function<void()> after_the_answer;
  bool backstop = false;  // whether slices end, and a dead owner can be found out

  Kernel();
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  static Kernel& running() { return *running_; }

  void add(Lock& lock, const char* name, Watcher& watcher);
  void forget(const Lock& lock);  // its memory is given back
  const Lock& first_lock() const { return *locks_[0].lock; }
  ModelThread& me() { return threads[rl::ctx().current_thread()]; }
  const ModelThread& me() const { return threads[rl::ctx().current_thread()]; }

  /// The thread may die here. Comes before each step that another thread, or the kernel at a death, can see.
  /// A step that only reads needs none: to die before it is to die before the next.
  void before_step(Moment moment) {
    if (deaths_left > 0 && !me().immortal && (death_comes ? death_comes(moment) : choices().rarely()))
      die("dies here");
    me().has_been_woken = false;
  }
  [[noreturn]] void die(const char* how);
  /// Ends the role of the thread: the execution is redundant, so nothing of it counts any more.
  [[noreturn]] void leave();
  /// Says what the next step touches; comes right before Relacy may switch threads. Ends the role of a thread
  /// in a redundant execution.
  void announce(const void* at, unsigned kind) {
    ModelThread& thread = me();
    thread.next_access = {at, kind};
    if (choices().is_redundant() && !thread.immortal) leave();
  }
  /// Ends the thread: its locks are treated in steps of their own, as late as the scheduler likes.
  void exit_walk();

  /// Ends the thread without the kernel's walk, as exec does with a thread that is not the leader.
  [[noreturn]] void vanish();
  /// Whether the thread is gone. What it wrote, the caller can read then.
  bool has_gone(int thread);
  /// Waits until it is.
  void await_end_of(int thread);

  /// Sleeps until woken, or until its time is over if it is timed. Promises no order.
  void sleep(const void* word, bool timed);
  /// Wakes one sleeper, in a step of its own. Returns how many it woke.
  int wake_one(const void* word);
  /// The same for so many, within the step that the caller is in.
  int wake(const void* word, int count);
  /// Whether a wait for an owner ends at once, as its slice does.
  bool slice_ends(std::uint32_t seen);

  /// Where a thread notes that its last wake-up for the lock found nobody.
  const void*& quiet_note(ModelThread& thread, const Lock& lock);
  /// Whether no thread with this tid lives. What they wrote, the caller can read then.
  bool is_gone(std::uint32_t tid);

  /// Says who sleeps, and behind what.
  void tell_sleepers();
  void tell(const char* format, ...) __attribute__((format(printf, 2, 3)));
  // For tell(). The text lasts until the fourth call after.
  const char* describe(std::uint32_t word);
  const char* describe_id(std::uint64_t id);
  const char* describe_number(std::uint64_t number);
  const char* describe_link(Link link);
  const char* field_of(const void* at);
  const char* name_of(const void* at);  // of a lock, by any address in it

  ModelThread threads[max_threads];
  // Whether the thread is gone: the kernel's own memory, whose order is the kernel's promise (owner_is_gone).
  rl::atomic<int> gone[max_threads];

 private:
  struct KnownLock {
    Lock* lock;
    const char* name;
    Watcher* watcher;
  };
  enum class Entry : std::uint8_t { listed, pending };
  bool wake_sleeper_on(const void* word, int wanted);
  bool all_others_sleep() const;
  void end_slices();
  void treat_locks();
  bool treat(Link entry, Entry kind);
  bool wakes_for_pending(std::uint32_t found);
  const KnownLock* find(Link link) const;

  KnownLock locks_[max_locks] = {};
  int lock_count_ = 0;
  static Kernel* running_;
};

/// Fails the scenario, with these words, unless the condition holds.
void expect(bool condition, const char* words);

}  // namespace heirlock::verify
#endif
