// The Platform's operations that enter the kernel. detail/linux_platform.hpp states the contract of each.
#include "heirlock/detail/linux_platform.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "last_error.hpp"

namespace heirlock::detail_v0_1 {
namespace {

constexpr std::int64_t second = 1'000'000'000;

// For an error that no state of this program explains: to go on could break the lock for all processes.
[[noreturn]] void die(const char* call, const void* word = nullptr) noexcept {
  const bool is_memory = word != nullptr && (errno == EFAULT || errno == EINVAL);
  const char* const reason = std::strerror(errno);
  char where[48] = "";
  if (word != nullptr) std::snprintf(where, sizeof where, " on the lock at %p", word);
  std::fprintf(stderr, "heirlock: %s%s failed: %s; %s\n", call, where, reason,
               is_memory
                   ? "the kernel cannot wait on this memory, as it is a device's, secret, read-only or no "
                     "longer mapped; keep the lock in ordinary memory"
                   : "if a sandbox filters system calls, allow this one");
  std::abort();
}

std::int64_t now() noexcept {
  timespec time{};
  if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) die("clock_gettime(CLOCK_MONOTONIC)");
  return time.tv_sec * second + time.tv_nsec;
}

// Later reads are newer than earlier ones. ThreadSanitizer does not support fences.
void fence_loads() noexcept {
#if !HEIRLOCK_THREAD_SANITIZER
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

// Whether signal handlers end the calling thread's present wait, and whether one did.
thread_local struct {
  bool end_the_wait = false;
  bool have_ended_it = false;
} signals HEIRLOCK_STATIC_TLS;

}  // namespace

// --- Refusals ---

Outcome refused(Outcome outcome, int system, const char* format, ...) noexcept {
  const ErrnoKept errno_kept;
  constexpr char prefix[] = "heirlock: ";
  constexpr std::size_t length = sizeof prefix - 1;
  last_error.system = system;
  std::memcpy(last_error.message, prefix, length);
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(last_error.message + length, sizeof last_error.message - length, format, values);
  va_end(values);
  return system == EEXIST   ? heirlock_file_exists
         : system == ENOENT ? heirlock_file_missing
         : system == ENOMEM ? heirlock_no_memory
                            : outcome;
}

Outcome explained(Outcome outcome, const LinuxLock& lock, const char* call) noexcept {
  if (outcome == heirlock_recursion_too_deep)
    return refused(
        outcome, 0,
        "%s(): the caller holds the lock 4294967295 times already; look for an acquire without its "
        "release",
        call);
  if (outcome != heirlock_not_owner) return outcome;
  char reality[32] = "it is free";
  const std::uint32_t owner = owner_of(lock.word.load(Order::relaxed));
  if (owner != 0) std::snprintf(reality, sizeof reality, "thread %u does", owner);
  return refused(
      outcome, 0,
      "%s(): thread %ld does not own the lock: %s; only the thread that acquired may call it, until its "
      "last release; a forked child owns no lock",
      call, syscall(SYS_gettid), reality);
}

// --- Time ---

LinuxPlatform::Deadline LinuxPlatform::deadline_after(std::int64_t nanoseconds) noexcept {
  const std::int64_t start = now();
  return nanoseconds >= for_ever - start ? for_ever : start + nanoseconds;
}

bool LinuxPlatform::has_passed(Deadline deadline) noexcept {
  return is_try(deadline) || signals.have_ended_it || (deadline != for_ever && now() >= deadline);
}

// --- Waiting ---

namespace {

// Sleeps on a word that no other thread knows, so that a sandbox need allow only futex(). A signal may end
// the nap early, or a late wake-up for a lock that was at this address before.
void nap_until(LinuxPlatform::Deadline moment) noexcept {
  LinuxPlatform::Atomic<std::uint32_t> nobodys;
  LinuxPlatform::sleep(nobodys, 0, moment);
}

}  // namespace

LinuxPlatform::Patience::~Patience() {
  if (began == no_wait) return;
  LinuxHabits& habits = me.habits;
  habits.woken = 0;
  constexpr std::int64_t longest_usual_wait = 4 * policy.longest_nap;  // one long wait is soon forgotten
  if (has_napped) habits.usual_wait = std::min((habits.usual_wait + now() - began) / 2, longest_usual_wait);
}

void LinuxPlatform::step_aside(Atomic<std::uint32_t>& word, Deadline deadline, Patience& patience) noexcept {
  LinuxHabits& habits = patience.me.habits;
  if (habits.woken_at != &word || habits.woken < 2 || word.load(Order::relaxed) != waiters_bit) return;
  const Deadline moment = now();
  if (is_try(deadline) || moment - habits.tenure_began < policy.tenure) return;
  habits.woken = 0;
  nap_until(std::min(deadline, moment + policy.aside));
}

bool LinuxPlatform::spin(Patience& patience) noexcept {
  LinuxHabits& habits = patience.me.habits;
  if (patience.began != no_wait) return false;  // slept already: the lock is held for long
  if (patience.pauses == 0) {
    if (habits.spin_time == 0) {
      if (!one_in(policy.spins_anew, patience.me)) return false;
      habits.spin_time = policy.shortest_spin;
    }
    if (habits.spinning_was_enough) habits.spin_time = std::min(habits.spin_time * 2, policy.longest_spin);
    habits.spinning_was_enough = true;  // unless wait() follows
    patience.spin_end = now() + habits.spin_time;
  } else if (++patience.looks == policy.most_looks || now() >= patience.spin_end) {
    return false;
  }
  patience.pauses = std::min(patience.pauses * 2 + 1, policy.most_pauses);
  for (std::uint32_t i = 0; i < patience.pauses; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
  }
  return true;
}

LinuxPlatform::Sleep LinuxPlatform::sleep(Atomic<std::uint32_t>& word, std::uint32_t seen,
                                          Deadline deadline) noexcept {
  const ErrnoKept errno_kept;
  const timespec until{deadline / second, deadline % second};
  const long result = syscall(SYS_futex, word.futex(), FUTEX_WAIT_BITSET, seen,
                              deadline == for_ever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (result == 0) return Sleep::woken;  // even if the time was over as well
  switch (errno) {
    case EINTR:  // a signal handler ran; a wait with a time-out is not resumed, not even under SA_RESTART
      signals.have_ended_it = signals.end_the_wait;
      return Sleep::disturbed;
    case EAGAIN:  // the word has changed
      return Sleep::disturbed;
    case ETIMEDOUT:
      return Sleep::timed_out;
    default:
      die("futex(FUTEX_WAIT_BITSET)", &word);
  }
}

Wait LinuxPlatform::wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline,
                         Patience& patience) noexcept {
  LinuxHabits& habits = patience.me.habits;
  if (patience.began == no_wait) {
    patience.began = now();
    patience.slice_end = patience.began + patience.slice;
    habits.spinning_was_enough = false;
    habits.spin_time = habits.spin_time / 2 < policy.shortest_spin ? 0 : habits.spin_time / 2;
  }
  if (std::exchange(patience.was_woken, false)) {
    const Deadline moment = now();
    const std::int64_t waited = moment - patience.began;
    const std::int64_t half = std::max(habits.usual_wait - waited, waited) / 2;
    nap_until(std::min(moment + std::clamp(half, policy.shortest_nap, policy.longest_nap), deadline));
    patience.has_napped = true;
    return Wait::look_again;
  }
  const Sleep ended = sleep(word, seen, std::min(deadline, patience.slice_end));
  patience.was_woken = ended == Sleep::woken;
  if (ended != Sleep::timed_out || deadline <= patience.slice_end) return Wait::look_again;
  patience.slice = std::min(patience.slice * 2, policy.longest_slice);
  patience.slice_end = now() + patience.slice;  // the thread may have been stopped for long
  return Wait::slice_ended;
}

int LinuxPlatform::wake_one(Atomic<std::uint32_t>& word) noexcept {
  const ErrnoKept errno_kept;
  const long woken = syscall(SYS_futex, word.futex(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  LinuxHabits& habits = this_thread_record.habits;
  if (std::exchange(habits.woken_at, &word) != &word) habits.woken = 0;
  if (woken > 0 && ++habits.woken == 2) habits.tenure_began = now();
  if (woken >= 0) return static_cast<int>(woken);
  if (errno == EPERM || errno == ENOSYS) die("futex(FUTEX_WAKE)", &word);
  return 0;  // the free lock's memory may be unmapped or reused: no thread waits for the lock there
}

void LinuxPlatform::clear_and_wake_all(Atomic<std::uint32_t>& word) noexcept {
  // Stores 0 at the second address, which is the first again, and wakes all there. The comparison wakes none.
  const int operation = FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0);
  if (syscall(SYS_futex, word.futex(), FUTEX_WAKE_OP, INT32_MAX, 0L, word.futex(), operation) < 0)
    die("futex(FUTEX_WAKE_OP)", &word);
}

// Every owner has registered a robust list. The kernel walks the list and forgets it (kernel/futex/core.c,
// futex_cleanup()) at exec, and at exit before the thread becomes a zombie. If the kernel refuses to
// tell, the thread may be alive.
bool LinuxPlatform::owner_is_gone(std::uint32_t tid) noexcept {
  const ErrnoKept errno_kept;
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  fence_loads();  // the system call itself orders no memory
  const bool is_found = syscall(SYS_get_robust_list, tid, &head, &size) == 0;
  fence_loads();
  return is_found ? head == nullptr : errno == ESRCH;
}

// --- Identity ---

namespace {

// In the page that the kernel zeroes in a child: there the lock is free, whoever held it in the parent.
struct ProcessPage {
  LinuxProcess process;
  LinuxLock lock;
};

Outcome lacks(const char* call) noexcept {
  return refused(heirlock_unsupported_platform, 0,
                 "%s failed: %s; heirlock needs Linux 4.14 or newer, and a sandbox that allows this call",
                 call, std::strerror(errno));
}

// A random number that is an owner_id and whose complement is one.
Outcome draw_id(std::uint64_t& id) noexcept {
  id = 0;
  while (!is_owner_id(id) || !is_owner_id(~id)) {
    if (syscall(SYS_getrandom, &id, sizeof id, 0U) == sizeof id || errno == EINTR) continue;
    return lacks("getrandom");
  }
  return heirlock_done;
}

Outcome read_pid_namespace(std::uint32_t& number) noexcept {
  struct stat status = {};
  bool known = stat("/proc/self/ns/pid", &status) == 0;
  if (!known) {  // no /proc: since Linux 6.11 a pidfd tells (PIDFD_GET_PID_NAMESPACE in linux/pidfd.h)
    const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0U));
    const int space = self < 0 ? -1 : ioctl(self, _IO(0xFF, 5), 0UL);
    known = space >= 0 && fstat(space, &status) == 0;
    if (space >= 0) syscall(SYS_close, space);
    if (self >= 0) syscall(SYS_close, self);
  }
  // After a wrong guess, two threads with the same id in two namespaces could own one lock.
  if (!known)
    return refused(heirlock_unsupported_platform, 0,
                   "the caller's PID namespace is unknown: there is no /proc/self/ns/pid; mount /proc");
  number = static_cast<std::uint32_t>(status.st_ino);
  return heirlock_done;
}

// Finds or makes the process's page, with its PID namespace and generation. The first thread that uses a lock
// finds out the namespace: a later thread may be in a sandbox that forbids it.
Outcome find_process(LinuxProcess*& process) noexcept {
  const LinuxProcess* known = this_process.load(std::memory_order_acquire);
  if (known == &no_process_yet) {
    const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* const page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
      return refused(heirlock_system_error, errno, "cannot map one page of private memory");
    const bool is_wiped = madvise(page, size, MADV_WIPEONFORK) == 0;
    const auto* const fresh = static_cast<LinuxProcess*>(page);
    if (is_wiped && this_process.compare_exchange_strong(known, fresh, std::memory_order_acq_rel))
      known = fresh;
    else
      munmap(page, size);  // perhaps another thread was first
    if (!is_wiped) return lacks("madvise(MADV_WIPEONFORK)");
  }
  process = const_cast<LinuxProcess*>(known);
  if (process->generation.load(std::memory_order_acquire) != 0) return heirlock_done;
  std::uint32_t pid_namespace = 0;
  // Random, as copies of the library in one process may share the page but could not share a counter.
  std::uint64_t fresh = 0;
  if (const Outcome outcome = read_pid_namespace(pid_namespace); is_refused(outcome)) return outcome;
  if (const Outcome outcome = draw_id(fresh); is_refused(outcome)) return outcome;
  process->pid_namespace.store(pid_namespace, std::memory_order_relaxed);  // all threads store the same
  std::uint64_t none = 0;
  process->generation.compare_exchange_strong(none, fresh, std::memory_order_acq_rel);
  return heirlock_done;
}

// For a process that libc did not start, such as the child of a raw clone(): it has no robust list.
thread_local robust_list_head list_without_libc HEIRLOCK_STATIC_TLS;

Outcome find_robust_list(robust_list_head*& head) noexcept {
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, 0, &head, &size) != 0) return lacks("get_robust_list");
  if (head == nullptr) {
    head = &list_without_libc;
    head->list.next = &head->list;
    head->futex_offset = word_from_node;
    head->list_op_pending = nullptr;
    if (syscall(SYS_set_robust_list, head, sizeof *head) != 0) return lacks("set_robust_list");
  }
  if (head->futex_offset != word_from_node)
    return refused(heirlock_unsupported_platform, 0,
                   "this libc's robust list has its futexes at offset %ld, glibc's at -32; use glibc",
                   head->futex_offset);
  return heirlock_done;
}

#if HEIRLOCK_THREAD_SANITIZER
// ThreadSanitizer does not see the kernel release the locks of a thread that ends, so this tells it.
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
  void begin() const noexcept {}  // a thread_local that is never used is never destroyed either
};
thread_local EndOfThread end_of_thread;
#endif

Outcome identify() noexcept {
  LinuxProcess* process = nullptr;
  LinuxThread fresh;
  if (const Outcome outcome = find_process(process); is_refused(outcome)) return outcome;
  if (const Outcome outcome = draw_id(fresh.id); is_refused(outcome)) return outcome;
  if (const Outcome outcome = find_robust_list(fresh.robust_list); is_refused(outcome)) return outcome;
  const long tid = syscall(SYS_gettid);  // not from libc, whose copy may be a parent's
  if (tid <= 0) return lacks("gettid");
  fresh.tid = static_cast<std::uint32_t>(tid);
  fresh.generation = process->generation.load(std::memory_order_acquire);
  fresh.pid_namespace = process->pid_namespace.load(std::memory_order_relaxed);
  fresh.last_draw = static_cast<std::uint32_t>(fresh.id);
  this_thread_record = fresh;
  return heirlock_done;
}

}  // namespace

Outcome acquire_interruptible(LinuxLock& lock, LinuxPlatform::Deadline deadline) noexcept {
  signals = {true, false};
  const Outcome outcome = LockAlgorithm<LinuxPlatform>::acquire(lock, deadline);
  const bool was_interrupted = std::exchange(signals, {}).have_ended_it;
  if (outcome != heirlock_not_acquired || !was_interrupted) return outcome;
  return refused(heirlock_interrupted, EINTR,
                 "a signal handler ran while acquire() waited; call it again to go on waiting");
}

Outcome hold_process(LinuxLock*& lock) noexcept {
  LinuxProcess* process = nullptr;
  if (const Outcome outcome = find_process(process); is_refused(outcome)) return outcome;
  lock = &reinterpret_cast<ProcessPage*>(process)->lock;
  // Inheriting is fine: the data under this lock is consistent after every store.
  return LockAlgorithm<LinuxPlatform>::acquire(*lock, LinuxPlatform::for_ever);
}

Outcome LinuxPlatform::admit(Atomic<std::uint32_t>& of_lock) noexcept {
  const ErrnoKept errno_kept;
#if HEIRLOCK_THREAD_SANITIZER
  end_of_thread.begin();
#endif
  if (known_thread() == nullptr) {
    const Outcome outcome = identify();
    if (is_refused(outcome)) return outcome;
    fence(of_lock, Order::release);  // a thread that sees this tid in a word must find the robust list
  }
  const std::uint32_t mine = this_thread_record.pid_namespace;
  if (of_lock.compare_exchange(0, mine, Order::relaxed)) return heirlock_done;
  const std::uint32_t found = of_lock.load(Order::relaxed);
  if (found == mine) return heirlock_done;
  constexpr std::uint32_t first = 0xeffffffc;  // PROC_PID_INIT_INO of Linux; others have 0xf0000000 and up
  const bool is_namespace = (found >= first && found != UINT32_MAX) || mine < first;
  return refused(
      heirlock_foreign_pid_namespace, 0,
      is_namespace
          ? "the lock belongs to PID namespace %u, the caller to %u; run all its users in one PID "
            "namespace; if a container was restarted over an old /dev/shm, run `heirlock clean`"
          : "the lock's memory names PID namespace %u, which cannot be (the caller's is %u): it never "
            "was a lock, or was overwritten; if no process uses it, fill it with zeros",
      found, mine);
}

}  // namespace heirlock::detail_v0_1
