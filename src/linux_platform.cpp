// The operations of the Platform that enter the kernel. detail/linux_platform.hpp states what each promises.
#include "heirlock/detail/linux_platform.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "heirlock/detail/deadline.hpp"
#include "heirlock/error.hpp"

namespace heirlock::detail {
namespace {

constexpr std::int64_t second = 1'000'000'000;

class ErrnoKept {
 public:
  ErrnoKept() = default;
  ErrnoKept(const ErrnoKept&) = delete;
  ErrnoKept& operator=(const ErrnoKept&) = delete;
  ~ErrnoKept() { errno = value_; }

 private:
  const int value_ = errno;
};

std::int64_t now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * second + time.tv_nsec;
}

// The kernel said what no state of this program explains: going on could break the lock for every process.
[[noreturn]] void die(const char* call, int error, const void* word) noexcept {
  std::fprintf(
      stderr,
      "heirlock: %s on the lock at %p failed with '%s', which it never should; is the lock's memory still "
      "mapped, and is the system call allowed by the sandbox?\n",
      call, word, std::strerror(error));
  std::abort();
}

[[noreturn]] void unsupported(const std::string& found) {
  throw std::system_error(make_error_code(errc::unsupported_platform), "heirlock: " + found);
}

}  // namespace

// --- Time
// ---------------------------------------------------------------------------------------------------

LinuxPlatform::Deadline deadline_after(std::int64_t nanoseconds) noexcept {
  const std::int64_t start = now();
  return nanoseconds >= LinuxPlatform::for_ever - start ? LinuxPlatform::for_ever : start + nanoseconds;
}

bool LinuxPlatform::has_passed(Deadline deadline) noexcept {
  return deadline == no_wait || (deadline != for_ever && now() >= deadline);
}

// --- Waiting
// ------------------------------------------------------------------------------------------------

bool LinuxPlatform::spin(Patience& patience) noexcept {
  constexpr std::uint32_t spins_before_sleep = 100;
  if (patience.spins == spins_before_sleep) return false;
  ++patience.spins;
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
  return true;
}

bool LinuxPlatform::sleep(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline) noexcept {
  const ErrnoKept errno_kept;
  const timespec until{deadline / second, deadline % second};
  const long result = syscall(SYS_futex, word.futex(), FUTEX_WAIT_BITSET, seen,
                              deadline == for_ever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (result == 0) return false;  // woken, even when the time was over as well
  switch (errno) {
    case EAGAIN:  // the word has changed
    case EINTR:   // a signal
      return false;
    case ETIMEDOUT:
      return true;
    default:
      die("futex(FUTEX_WAIT_BITSET)", errno, &word);
  }
}

Wait LinuxPlatform::wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                         Patience& patience) noexcept {
  const Deadline slice_end = now() + patience.slice;
  if (!sleep(word, seen, std::min(deadline, slice_end)) || deadline <= slice_end) return Wait::look_again;
  patience.slice = std::min(patience.slice * 2, second);
  return Wait::slice_ended;
}

int LinuxPlatform::wake_one(Atomic<std::uint32_t>& word) noexcept {
  const ErrnoKept errno_kept;
  const long woken = syscall(SYS_futex, word.futex(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  if (woken >= 0) return static_cast<int>(woken);
  switch (errno) {
    case EFAULT:  // the lock was free, and its last user has unmapped the memory: nobody sleeps there
      return 0;
    default:
      die("futex(FUTEX_WAKE)", errno, &word);
  }
}

void LinuxPlatform::set_and_wake_all(Atomic<std::uint32_t>& word, std::uint32_t value) noexcept {
  const ErrnoKept errno_kept;
  // The operand has 12 bits, or is a power of two: enough for the two values there are. The comparison wakes
  // nobody: all who sleep here are woken by the first half already, at the same address.
  const int operation = value == 0 ? FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0)
                                   : static_cast<int>(FUTEX_OP((FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT) & 0xfU,
                                                               30U, FUTEX_OP_CMP_EQ, 0U));
  static_assert(owner_died_bit == 1U << 30);
  if (syscall(SYS_futex, word.futex(), FUTEX_WAKE_OP, INT32_MAX, 0L, word.futex(), operation) < 0)
    die("futex(FUTEX_WAKE_OP)", errno, &word);
}

// A zombie leader still has its thread id, and the scheduler knows it: its state in /proc tells. The kernel's
// walk over its locks was done before it became one (kernel/exit.c: exit_mm() comes before exit_notify()).
bool LinuxPlatform::owner_is_gone(std::uint32_t tid) noexcept {
  const ErrnoKept errno_kept;
  if (sched_getscheduler(static_cast<pid_t>(tid)) < 0 && errno == ESRCH) return true;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/stat", tid);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[256];
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  if (size <= 0) return false;
  text[size] = '\0';
  const char* const after_name =
      std::strrchr(text, ')');  // "tid (name) state ...", and a name may hold anything
  if (after_name == nullptr || after_name[1] != ' ') return false;
  return after_name[2] == 'Z' || after_name[2] == 'X';
}

// --- Who I am
// -----------------------------------------------------------------------------------------------

namespace {

std::atomic<std::uint64_t> last_generation{0};  // a fork copies it, so a child's numbers are new to the child

// Set by the fork handler where the kernel cannot wipe a page (before 4.14).
std::atomic<std::uint64_t> generation_without_wiping{0};

std::atomic<std::uint64_t>& make_generation_page() {
  const auto* existing = generation_page.load(std::memory_order_acquire);
  if (existing != &no_generation_yet) return const_cast<std::atomic<std::uint64_t>&>(*existing);

  const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw std::system_error(errno, std::system_category(), "heirlock: mmap of one page of private memory");
  auto* page = static_cast<std::atomic<std::uint64_t>*>(memory);
  if (madvise(memory, size, MADV_WIPEONFORK) != 0) {
    munmap(memory, size);
    page = &generation_without_wiping;
    static const int handler = pthread_atfork(nullptr, nullptr, [] { generation_without_wiping = 0; });
    if (handler != 0) throw std::system_error(handler, std::system_category(), "heirlock: pthread_atfork");
  }
  if (!generation_page.compare_exchange_strong(existing, page, std::memory_order_acq_rel)) {
    if (page != &generation_without_wiping) munmap(memory, size);
    return const_cast<std::atomic<std::uint64_t>&>(*existing);  // another thread was first
  }
  return *page;
}

std::uint64_t current_generation() {
  std::atomic<std::uint64_t>& page = make_generation_page();
  std::uint64_t current = page.load(std::memory_order_relaxed);
  if (current != 0) return current;
  const std::uint64_t fresh = last_generation.fetch_add(1, std::memory_order_relaxed) + 1;
  return page.compare_exchange_strong(current, fresh, std::memory_order_relaxed) ? fresh : current;
}

// For a process that libc did not make, such as the child of a raw clone(): the kernel knows no list of its.
thread_local robust_list_head list_without_libc;

robust_list_head* registered_robust_list() {
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, 0, &head, &size) != 0)
    unsupported(
        std::string("get_robust_list failed with '") + std::strerror(errno) +
        "', expected the calling thread's list; allow get_robust_list and set_robust_list in the sandbox");
  if (head == nullptr) {
    head = &list_without_libc;
    head->list.next = &head->list;
    head->futex_offset = word_from_node;
    head->list_op_pending = nullptr;
    if (syscall(SYS_set_robust_list, head, sizeof *head) != 0)
      unsupported(std::string("set_robust_list failed with '") + std::strerror(errno) +
                  "', expected it to register the calling thread's list; allow it in the sandbox");
  }
  if (head->futex_offset != word_from_node)
    unsupported("found a robust list whose futexes lie at " + std::to_string(head->futex_offset) +
                " from the node, expected " + std::to_string(word_from_node) +
                "; use glibc on a 64-bit machine");
  return head;
}

std::uint64_t random_id() {
  std::uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) == sizeof id || errno == EINTR) continue;
    unsupported(std::string("getrandom failed with '") + std::strerror(errno) + "', expected 8 random bytes");
  }
  return id;
}

constexpr std::uint32_t unknown_namespace = 0xffffffff;

std::uint32_t pid_namespace_of_caller() {
  struct stat status {};
  if (stat("/proc/self/ns/pid", &status) != 0 || status.st_ino == 0) return unknown_namespace;
  return static_cast<std::uint32_t>(status.st_ino);
}

}  // namespace

LinuxThread& LinuxPlatform::identify() {
  const ErrnoKept errno_kept;
  LinuxThread fresh;
  fresh.generation = current_generation();
  fresh.tid = static_cast<std::uint32_t>(syscall(SYS_gettid));  // not libc's, which may remember a parent's
  fresh.pid_namespace = pid_namespace_of_caller();
  fresh.id = random_id();
  fresh.robust_list = registered_robust_list();
  return this_thread_record = fresh;
}

void LinuxPlatform::join_pid_namespace(Atomic<std::uint32_t>& of_lock, const Thread& me) {
  if (of_lock.compare_exchange(0, me.pid_namespace, Order::relaxed)) return;
  const std::uint32_t found = of_lock.load(Order::relaxed);
  if (found == me.pid_namespace) return;  // another thread of the same namespace was first
  throw std::system_error(make_error_code(errc::foreign_pid_namespace),
                          "heirlock: found a lock of PID namespace " + std::to_string(found) +
                              ", expected the caller's, " + std::to_string(me.pid_namespace) +
                              "; let all its users run in one PID namespace");
}

void LinuxPlatform::refuse(Refusal why, const LinuxLock& lock) {
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  const std::string found = owner == 0 ? "a free lock" : "a lock owned by thread " + std::to_string(owner);
  const std::string caller = std::to_string(syscall(SYS_gettid));
  switch (why) {
    case Refusal::not_owner_of_release:
      throw AssertionError("heirlock: release() found " + found +
                           ", expected one owned by the calling thread " + caller +
                           "; release once for each acquire, in the thread that acquired");
    case Refusal::not_owner_of_repaired:
      throw AssertionError("heirlock: repaired() found " + found +
                           ", expected one owned by the calling thread " + caller +
                           "; call it between acquire and release");
    case Refusal::recursion_too_deep:
      throw std::system_error(
          make_error_code(errc::recursion_too_deep),
          "heirlock: acquire() found a depth of 4294967295, expected less; look for an acquire "
          "without its release");
  }
  std::abort();
}

}  // namespace heirlock::detail
