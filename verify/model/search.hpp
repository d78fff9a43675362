// Which executions of a scenario are tried, and how one of them is told again.
//
// An execution is a row of choices: who runs next, whether a load sees an older value, whom a wake-up
// reaches, whether a thread dies. Choice 0 is the dullest: go on with the same thread, see the newest value,
// live. Relacy asks for each choice through the Scheduler of scheduler.hpp, and the kernel of the model
// directly.
#ifndef HEIRLOCK_VERIFY_MODEL_SEARCH_HPP
#define HEIRLOCK_VERIFY_MODEL_SEARCH_HPP

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

namespace heirlock::verify {

// What a row of a scenario asks for.
struct Search {
  enum class Kind : std::uint8_t { every_execution, bounded_switches, sampled };

  Kind kind;
  // Switches away from a thread that could go on; switches from one that sleeps or has ended are free.
  unsigned switches;
  std::uint64_t executions;  // to sample
};
/// All executions.
constexpr Search every_execution() {
  return {Search::Kind::every_execution, ~0U, 0};
}
/// All executions with at most so many switches away from a thread that could go on.
constexpr Search every_execution_with(unsigned switches) {
  return {Search::Kind::bounded_switches, switches, 0};
}
/// So many executions, chosen at random.
constexpr Search sampled(std::uint64_t executions) {
  return {Search::Kind::sampled, ~0U, executions};
}

// Relacy replaces operator new inside an execution; what outlives one is allocated past it.
template <class T>
struct PlainAllocator {
  using value_type = T;
  PlainAllocator() = default;
  template <class U>
  explicit PlainAllocator(const PlainAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(std::malloc(count * sizeof(T))); }
  void deallocate(T* at, std::size_t) { std::free(at); }
  bool operator==(const PlainAllocator&) const { return true; }
  bool operator!=(const PlainAllocator&) const { return false; }
};

// What a thread's next step touches. Steps of two threads that are independent have the same effect in either
// order; of such pairs, every_execution() tries one order only (sleep sets: Godefroid, Partial-Order Methods
// for the Verification of Concurrent Systems, 1996). What lies between two steps is the thread's own, or
// plain data, whose races Relacy finds in either order.
struct Access {
  enum : unsigned { reads = 1, writes = 2, queues = 4 };  // queues: who sleeps there

  const void* at = nullptr;
  unsigned kind = 0;

  bool is_independent_of(const Access& other) const;
};

// A thread that can make its next step, and why.
struct Step {
  int thread;
  int reason;  // 0 to 2
  Access access;
};

// The choices of the execution that runs, and how to get from it to the next one.
class Choices {
 public:
  using Row = std::vector<unsigned, PlainAllocator<unsigned>>;

  /// No time limit: 0 seconds.
  void start(const Search& search, std::uint64_t seed, double time_limit);
  /// Prepares to repeat one execution. Choices beyond the row are 0.
  void repeat(const Row& row);

  void begin_execution();
  /// Returns false when there is no next execution.
  bool next_execution();

  unsigned choose(unsigned count);
  /// True in one alternative: in one of two when all are tried, seldom when sampled.
  bool rarely();
  /// Which of the steps comes next; the first one is the running thread's if it can go on.
  unsigned choose_step(const Step* steps, unsigned count, bool running_can_go_on);

  /// Whether all executions that the search asks for have been tried.
  bool exhausted() const { return exhausted_; }
  std::uint64_t executions() const { return executions_; }
  /// Whether the execution that runs differs from another only in the order of independent steps.
  bool is_redundant() const { return redundant_; }
  /// How many did.
  std::uint64_t redundant_executions() const { return redundant_executions_; }
  /// Since start().
  double seconds() const;
  Row row() const;

 private:
  struct Choice {
    unsigned chosen, count;
    unsigned left_out;  // a bit for each alternative that another execution stands for
  };
  unsigned take(unsigned count, unsigned fresh, unsigned left_out = 0);
  unsigned choose_independent_step(const Step* steps, unsigned count);
  std::uint64_t random();

  Search search_{};
  bool repeating_ = false;
  std::vector<Choice, PlainAllocator<Choice>> choices_;
  std::size_t depth_ = 0;
  unsigned switches_left_ = 0;
  unsigned asleep_ = 0;  // steps, as bits, whose effect here another execution has
  bool redundant_ = false;
  std::uint64_t executions_ = 0, redundant_executions_ = 0;
  bool exhausted_ = false;
  std::uint64_t seed_ = 0, random_state_ = 0;
  unsigned restlessness_ = 2, rarity_ = 2;
  double time_limit_ = 0, started_ = 0;
};

inline Choices the_choices;
inline Choices& choices() {
  return the_choices;
}

/// Whether the execution is to be told, a line a step: it is a failure that runs again.
extern bool telling;

}  // namespace heirlock::verify
#endif
