// The kernel's futexes and robust lists, by raw system calls, on memory that a test lays out itself. Nothing
// here goes through the library: what it assumes about the kernel is held against the kernel that runs.
#ifndef HEIRLOCK_TESTS_SUPPORT_ROBUST_FUTEX_HPP
#define HEIRLOCK_TESTS_SUPPORT_ROBUST_FUTEX_HPP

#include <linux/futex.h>
#include <sys/types.h>
#include <time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <thread>
#include <vector>

namespace kernel {

using Word = std::atomic<std::uint32_t>;

constexpr std::uint32_t waiters = FUTEX_WAITERS;
constexpr std::uint32_t owner_died = FUTEX_OWNER_DIED;
/// Every combination of the bits beside the owner part.
constexpr std::uint32_t each_combination_of_bits[] = {0, waiters, owner_died, owner_died | waiters};
std::string name_of_bits(std::uint32_t bits);

/// A lock as the kernel sees it.
struct Node {
  Word word{0};
  robust_list link{};
};

/// A robust list: what the kernel walks over when the thread that registered it ends.
class RobustList {
 public:
  RobustList() noexcept;
  RobustList(const RobustList&) = delete;
  RobustList& operator=(const RobustList&) = delete;

  /// Makes these the list, in this order.
  void link(std::initializer_list<Node*> nodes) noexcept;
  /// Puts one first.
  void put_first(Node& node) noexcept;
  void set_pending(Node& node) noexcept { head_.list_op_pending = &node.link; }
  /// Makes it the calling thread's, whatever list it had; libc's included.
  void register_for_this_thread() noexcept;

  robust_list_head* head() noexcept { return &head_; }

 private:
  robust_list_head head_{};
};

/// As long a list as the kernel walks over, and a pending lock: who looks too soon finds it half-treated.
struct LongestList {
  RobustList list;
  std::array<Node, ROBUST_LIST_LIMIT> listed;
  Node pending;

  /// Has the calling thread, of this id, hold all of it.
  void be_held_by(std::uint32_t tid) noexcept;
};

/// What get_robust_list says of a thread: 0 or the errno, and the list.
struct Registered {
  int error;
  const robust_list_head* head;
};
Registered list_of(pid_t tid) noexcept;

pid_t this_tid() noexcept;

/// Below, `kind` is 0 for a futex that processes share, as the library's are, or FUTEX_PRIVATE_FLAG; `bits`
/// are those of FUTEX_WAIT_BITSET: a wake-up finds who has one in common with it.

/// Sleeps while the word is `seen`, until this moment on CLOCK_MONOTONIC if there is one. Returns 0, or the
/// errno.
int wait(const Word& word, std::uint32_t seen, const timespec* until = nullptr, int kind = 0,
         std::uint32_t bits = FUTEX_BITSET_MATCH_ANY) noexcept;
/// Returns how many it woke.
int wake(const Word& word, int most, int kind = 0, std::uint32_t bits = FUTEX_BITSET_MATCH_ANY) noexcept;
/// FUTEX_WAKE_OP with both addresses equal, as the library's only use of it. Returns how many it woke.
int clear_and_wake_all(Word& word) noexcept;
/// How many are queued on the word at this moment, told by requeueing them to where they are.
int sleepers_on(const Word& word, int kind = 0) noexcept;

constexpr std::int64_t microsecond = 1000, millisecond = 1000 * microsecond;
/// The time on CLOCK_MONOTONIC in nanoseconds.
std::int64_t now() noexcept;
timespec moment(std::int64_t nanoseconds) noexcept;

/// Threads that sleep on a word, all queued when the constructor returns. Those still asleep at the end are
/// woken.
class Sleepers {
 public:
  Sleepers(const Word& word, int count, int kind = 0, std::uint32_t bits = FUTEX_BITSET_MATCH_ANY);
  Sleepers(const Sleepers&) = delete;
  Sleepers& operator=(const Sleepers&) = delete;
  ~Sleepers();

  /// How many have been woken by now, if nobody else sleeps on the word.
  int woken() const { return static_cast<int>(threads_.size()) - sleepers_on(word_, kind_); }

 private:
  const Word& word_;
  const int kind_;
  std::vector<std::thread> threads_;
};

/// Shared pages, among them, if wanted, one that is another's second view.
class Pages {
 public:
  explicit Pages(std::size_t count);
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages();

  /// A lock whose word lies at the end of this page, and its link at the beginning of the next.
  Node& straddling(std::size_t page) const;
  /// A lock at the beginning of this page.
  Node& within(std::size_t page) const;
  /// Makes the page show what another one holds.
  void make_view(std::size_t page, std::size_t of) const;
  void put_other_memory_to(std::size_t page) const;
  void forbid(std::size_t page, int what_is_left) const;

 private:
  std::size_t size_;
  std::size_t count_;
  unsigned char* base_;
};

}  // namespace kernel
#endif
