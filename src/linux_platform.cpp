// The operations of the Platform that enter the kernel. detail/linux_platform.hpp states what each promises.
#include "heirlock/detail/linux_platform.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

#include "errno_kept.hpp"
#include "heirlock/detail/deadline.hpp"
#include "heirlock/error.hpp"

namespace heirlock::detail {
namespace {

constexpr std::int64_t second = 1'000'000'000;

// The kernel said what no state of this program explains: going on could break the lock for every process.
[[noreturn]] void die(const char* call, int error, const void* word) noexcept {
  std::fprintf(
      stderr,
      "heirlock: %s on the lock at %p failed with '%s', which it never should; is the lock's memory still "
      "mapped, and is the system call allowed by the sandbox?\n",
      call, word, std::strerror(error));
  std::abort();
}

std::int64_t now() noexcept {
  timespec time{};
  if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) {
    std::fprintf(
        stderr,
        "heirlock: clock_gettime(CLOCK_MONOTONIC) failed with '%s', which it never should; is it allowed "
        "by the sandbox?\n",
        std::strerror(errno));
    std::abort();
  }
  return time.tv_sec * second + time.tv_nsec;
}

[[noreturn]] void unsupported(const std::string& found) {
  throw std::system_error(make_error_code(errc::unsupported_platform), "heirlock: " + found);
}

}  // namespace

// --- Time --------------------------------------------------------------------------------------------------

LinuxPlatform::Deadline deadline_after(std::int64_t nanoseconds) noexcept {
  const std::int64_t start = now();
  return nanoseconds >= LinuxPlatform::for_ever - start ? LinuxPlatform::for_ever : start + nanoseconds;
}

bool LinuxPlatform::has_passed(Deadline deadline) noexcept {
  return is_try(deadline) || (deadline != for_ever && now() >= deadline);
}

// --- Waiting -----------------------------------------------------------------------------------------------

// Looks less and less often: each look takes the lock's cache line from the owner. How long is worth it the
// thread learns: half as long after a sleep that followed, twice as long after none. Once it has slept it
// spins no more: whoever is woken in vain would keep a processor from those that work.
bool LinuxPlatform::spin(Patience& patience) noexcept {
  constexpr std::uint32_t most_pauses = 128;  // 1 to 5 us
  constexpr std::uint32_t most_looks = 100;   // if the clock stands still
  LinuxThread& me = this_thread_record;
  if (patience.pauses == 0) {
    if (me.spinning_was_enough) me.spin_time = std::min(me.spin_time * 2, LinuxThread::longest_spin);
    me.spinning_was_enough = true;  // unless wait() follows
    patience.spin_end = now() + me.spin_time;
  } else if (patience.slice_end != no_wait || ++patience.looks == most_looks || now() >= patience.spin_end) {
    return false;
  }
  patience.pauses = std::min(patience.pauses * 2 + 1, most_pauses);
  for (std::uint32_t i = 0; i < patience.pauses; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
  }
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
  if (patience.slice_end == no_wait) {
    patience.slice_end = now() + patience.slice;
    LinuxThread& me = this_thread_record;
    me.spinning_was_enough = false;
    me.spin_time = std::max(me.spin_time / 2, LinuxThread::shortest_spin);
  }
  const bool timed_out = sleep(word, seen, std::min(deadline, patience.slice_end));
  if (!timed_out || deadline <= patience.slice_end) return Wait::look_again;
  patience.slice = std::min(patience.slice * 2, second);
  patience.slice_end += patience.slice;
  return Wait::slice_ended;
}

bool LinuxPlatform::asks_before_giving_up(Deadline deadline, Patience& patience) noexcept {
  // A prime number: who tries several locks in turn asks after the owner of each.
  constexpr std::uint32_t tries_for_one_question = 61;
  if (patience.has_asked) return false;
  patience.has_asked = true;
  return !is_try(deadline) || ++this_thread_record.failed_tries % tries_for_one_question == 0;
}

int LinuxPlatform::wake_one(Atomic<std::uint32_t>& word) noexcept {
  const ErrnoKept errno_kept;
  const long woken = syscall(SYS_futex, word.futex(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  if (woken >= 0) return static_cast<int>(woken);
  if (errno == EPERM || errno == ENOSYS) die("futex(FUTEX_WAKE)", errno, &word);
  return 0;  // the lock is free and may be gone; whatever lies at its address now, nobody waits for it there
}

void LinuxPlatform::clear_and_wake_all(Atomic<std::uint32_t>& word) noexcept {
  const ErrnoKept errno_kept;
  // Stores 0 at the second address, here the same, and wakes all at the first. The comparison then wakes
  // nobody: nobody is left.
  const int operation = FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0);
  if (syscall(SYS_futex, word.futex(), FUTEX_WAKE_OP, INT32_MAX, 0L, word.futex(), operation) < 0)
    die("futex(FUTEX_WAKE_OP)", errno, &word);
}

// Asks for the thread's robust list, which every owner has registered. The kernel forgets it after its walk
// over the owner's locks (kernel/futex/core.c: futex_cleanup()), at exit before the thread becomes a zombie,
// and at exec. Where the answer is refused because the thread is another user's, it lives for all one can
// tell.
bool LinuxPlatform::owner_is_gone(std::uint32_t tid) noexcept {
  const ErrnoKept errno_kept;
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, tid, &head, &size) != 0) return errno == ESRCH;
  return head == nullptr;
}

// --- Who I am ----------------------------------------------------------------------------------------------

namespace {

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
    if (handler != 0)  // GCOVR_EXCL_START: only a libc without memory for two pointers refuses
      throw std::system_error(handler, std::system_category(), "heirlock: pthread_atfork");
    // GCOVR_EXCL_STOP
  }
  if (!generation_page.compare_exchange_strong(existing, page, std::memory_order_acq_rel)) {
    if (page != &generation_without_wiping) munmap(memory, size);
    return const_cast<std::atomic<std::uint64_t>&>(*existing);  // another thread was first
  }
  return *page;
}

std::uint64_t random_id() {
  std::uint64_t id = 0;
  while (!is_owner_id(id) || !is_owner_id(~id)) {
    if (syscall(SYS_getrandom, &id, sizeof id, 0U) == sizeof id || errno == EINTR) continue;
    unsupported(std::string("getrandom failed with '") + std::strerror(errno) + "', expected 8 random bytes");
  }
  return id;
}

std::uint64_t current_generation() {
  std::atomic<std::uint64_t>& page = make_generation_page();
  std::uint64_t current = page.load(std::memory_order_acquire);
  if (current != 0) return current;
  // Drawn and not counted: copies of the library in one process may share the page and not the count.
  const std::uint64_t fresh = random_id();
  return page.compare_exchange_strong(current, fresh, std::memory_order_acq_rel) ? fresh : current;
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

// Not libc's, which may remember a parent's.
std::uint32_t thread_id() {
  const long tid = syscall(SYS_gettid);
  if (tid > 0) return static_cast<std::uint32_t>(tid);
  unsupported(std::string("gettid failed with '") + std::strerror(errno) +
              "', expected the calling thread's id; allow it in the sandbox");
}

std::uint32_t pid_namespace_of_caller() {
  struct stat status {};
  if (stat("/proc/self/ns/pid", &status) == 0) return static_cast<std::uint32_t>(status.st_ino);
  // No /proc: a pidfd tells since Linux 6.11 (PIDFD_GET_PID_NAMESPACE of linux/pidfd.h).
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0U));
  const int space = self < 0 ? -1 : ioctl(self, _IO(0xFF, 5), 0UL);
  const bool known = space >= 0 && fstat(space, &status) == 0;
  if (space >= 0) syscall(SYS_close, space);
  if (self >= 0) syscall(SYS_close, self);
  // Guessing could let the same thread id of two namespaces own one lock.
  if (!known)
    unsupported("found no /proc/self/ns/pid, expected it to name the caller's PID namespace; mount /proc");
  return static_cast<std::uint32_t>(status.st_ino);
}

}  // namespace

#if HEIRLOCK_THREAD_SANITIZER
namespace {

// ThreadSanitizer does not see the kernel hand over the locks that a thread holds at its end: said here, for
// each lock on its list.
struct EndOfThread {
  ~EndOfThread() {
    const LinuxThread* const me = LinuxPlatform::known_thread();
    if (me == nullptr) return;
    LinuxPlatform::Link at = LinuxPlatform::first(*me);
    while ((at & ~LinuxPlatform::Link{1}) != LinuxPlatform::head(*me)) {
      const LinuxPlatform::Link next = LinuxPlatform::next(at);  // before an heir may change it
      __tsan_release(reinterpret_cast<char*>(at & ~LinuxPlatform::Link{1}) + word_from_node);
      at = next;
    }
  }
  void begin() const noexcept {}  // what is never named is never made, and then never destroyed
};
thread_local EndOfThread end_of_thread;

}  // namespace
#endif

LinuxThread& LinuxPlatform::identify() {
  const ErrnoKept errno_kept;
#if HEIRLOCK_THREAD_SANITIZER
  end_of_thread.begin();
#endif
  LinuxThread fresh;
  fresh.generation = current_generation();
  fresh.tid = thread_id();
  fresh.pid_namespace = pid_namespace_of_caller();
  fresh.id = random_id();
  fresh.robust_list = registered_robust_list();
  return this_thread_record = fresh;
}

void LinuxPlatform::join_pid_namespace(Atomic<std::uint32_t>& of_lock, const Thread& me) {
  const ErrnoKept errno_kept;
  if (of_lock.compare_exchange(0, me.pid_namespace, Order::relaxed)) return;
  const std::uint32_t found = of_lock.load(Order::relaxed);
  if (found == me.pid_namespace) return;  // another thread of the same namespace was first
  throw std::system_error(make_error_code(errc::foreign_pid_namespace),
                          "heirlock: found a lock of PID namespace " + std::to_string(found) +
                              ", expected the caller's, " + std::to_string(me.pid_namespace) +
                              "; let all its users run in one PID namespace");
}

void LinuxPlatform::refuse(Refusal why, const LinuxLock& lock) {
  const ErrnoKept errno_kept;  // which a message that finds no memory sets
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  std::string found = "a free lock";
  if (owner != 0) found = "a lock owned by thread " + std::to_string(owner);
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
  std::abort();  // GCOVR_EXCL_LINE: every Refusal has thrown
}

}  // namespace heirlock::detail
