#include "support/robust_futex.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <new>

namespace kernel {
namespace {

constexpr std::int64_t second = 1'000'000'000;

long futex(const Word& word, int operation, std::uint32_t value, const void* time_or_count,
           const Word* second_word, std::uint32_t last) noexcept {
  return syscall(SYS_futex, &word, operation, value, time_or_count, second_word, last);
}

}  // namespace

std::string name_of_bits(std::uint32_t bits) {
  switch (bits) {
    case 0:
      return "no_bit";
    case waiters:
      return "WAITERS";
    case owner_died:
      return "OWNER_DIED";
    default:
      return "OWNER_DIED_and_WAITERS";
  }
}

RobustList::RobustList() noexcept {
  head_.list.next = &head_.list;
  head_.futex_offset = -static_cast<long>(offsetof(Node, link));
}

void RobustList::link(std::initializer_list<Node*> nodes) noexcept {
  robust_list* last = &head_.list;
  for (Node* node : nodes) {
    last->next = &node->link;
    last = &node->link;
  }
  last->next = &head_.list;
}

void RobustList::put_first(Node& node) noexcept {
  node.link.next = head_.list.next;
  head_.list.next = &node.link;
}

void RobustList::register_for_this_thread() noexcept {
  if (syscall(SYS_set_robust_list, &head_, sizeof head_) != 0) std::abort();
}

void LongestList::be_held_by(std::uint32_t tid) noexcept {
  for (Node& lock : listed) {
    lock.word = tid;
    list.put_first(lock);
  }
  pending.word = tid;
  list.set_pending(pending);
  list.register_for_this_thread();
}

Registered list_of(pid_t tid) noexcept {
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, tid, &head, &size) != 0) return {errno, nullptr};
  return {0, head};
}

pid_t this_tid() noexcept {
  return static_cast<pid_t>(syscall(SYS_gettid));
}

int wait(const Word& word, std::uint32_t seen, const timespec* until, int kind, std::uint32_t bits) noexcept {
  return futex(word, FUTEX_WAIT_BITSET | kind, seen, until, nullptr, bits) == 0 ? 0 : errno;
}

int wake(const Word& word, int most, int kind, std::uint32_t bits) noexcept {
  return static_cast<int>(
      futex(word, FUTEX_WAKE_BITSET | kind, static_cast<std::uint32_t>(most), nullptr, nullptr, bits));
}

int clear_and_wake_all(Word& word) noexcept {
  return static_cast<int>(
      futex(word, FUTEX_WAKE_OP, INT_MAX, nullptr, &word, FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0)));
}

int sleepers_on(const Word& word, int kind) noexcept {
  for (;;) {
    const auto all = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(INT_MAX));
    const long moved = futex(word, FUTEX_CMP_REQUEUE | kind, 0, all, &word, word.load());
    if (moved >= 0) return static_cast<int>(moved);
    if (errno != EAGAIN) std::abort();  // else the word changed in between
  }
}

std::int64_t now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * second + time.tv_nsec;
}

timespec moment(std::int64_t nanoseconds) noexcept {
  return {nanoseconds / second, nanoseconds % second};
}

Sleepers::Sleepers(const Word& word, int count, int kind, std::uint32_t bits) : word_(word), kind_(kind) {
  const int asleep_before = sleepers_on(word, kind);
  const std::uint32_t seen = word.load();
  for (int i = 0; i < count; ++i)
    threads_.emplace_back([&word, seen, kind, bits] {
      EXPECT_EQ(wait(word, seen, nullptr, kind, bits), 0) << "a wait that nobody woke ended";
    });
  while (sleepers_on(word, kind) != asleep_before + count) sched_yield();
}

Sleepers::~Sleepers() {
  wake(word_, INT_MAX, kind_);
  for (std::thread& thread : threads_) thread.join();
}

Pages::Pages(std::size_t count)
    : size_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
      count_(count),
      base_(static_cast<unsigned char*>(
          mmap(nullptr, size_ * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
  if (base_ == MAP_FAILED) std::abort();
}

Pages::~Pages() {
  munmap(base_, size_ * count_);
}

Node& Pages::straddling(std::size_t page) const {
  return *::new (base_ + (page + 1) * size_ - offsetof(Node, link)) Node;
}

Node& Pages::within(std::size_t page) const {
  return *::new (base_ + page * size_) Node;
}

void Pages::make_view(std::size_t page, std::size_t of) const {
  // An old size of 0 leaves the old mapping where it is.
  void* const place = base_ + page * size_;
  if (mremap(base_ + of * size_, 0, size_, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place) std::abort();
}

void Pages::put_other_memory_to(std::size_t page) const {
  void* const place = base_ + page * size_;
  if (mmap(place, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != place)
    std::abort();
}

void Pages::forbid(std::size_t page, int what_is_left) const {
  if (mprotect(base_ + page * size_, size_, what_is_left) != 0) std::abort();
}

}  // namespace kernel
