// 40 arbitrary bytes as a lock. Every operation that need not wait for another thread ends in time, does what
// the bytes mean by SPECIFICATION.md, and leaves the thread's robust list and its other locks as they were.
//
// Input: where the lock lies, what its word shall name, its bytes, then the operations, one byte each with
// their own arguments. The expectation is computed from the bytes, beside the algorithm: see Expected.
//
// One input cannot be made: the owner_id of the calling thread. This would be a lock that the thread rightly
// holds, on whose links its next release relies. The id is 64 random bits that a thread shows nobody but by
// holding locks; who can read it can write the lock, and is trusted (SPECIFICATION.md, section 10).
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <system_error>

#include "heirlock/lockable.hpp"
#include "support/input.hpp"
#include "support/lock_probe.hpp"

namespace {

using fuzz::Input;
using fuzz::require;
using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using heirlock::detail::LinuxPlatform;
using heirlock::detail::Order;
using heirlock::detail::owner_died_bit;
using heirlock::detail::owner_of;
using heirlock::detail::waiters_bit;
using support::bytes_of;
using support::fields_of;
using support::word_of;
using Clock = std::chrono::steady_clock;

// What no operation comes near, on a loaded machine either.
constexpr std::chrono::seconds far_too_long{25};
constexpr int most_waits = 2;  // of one input, to stay fast
constexpr int most_operations = 60;

// --- Who is there besides ---

// A process that does nothing, until its parent ends. It has begun: before libc registers its robust list it
// passes for one that is gone.
pid_t start_sleeper() {
  const pid_t parent = getpid();
  int begun[2];
  require(pipe(begun) == 0, "a pipe can be made");
  const pid_t child = fork();
  require(child >= 0, "a process can be made");
  close(begun[child == 0 ? 0 : 1]);
  if (child != 0) {
    char nothing;
    require(read(begun[0], &nothing, 1) == 0, "the process begins");
    close(begun[0]);
    return child;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(begun[1]);
  if (getppid() != parent) _exit(0);
  for (;;) pause();
}

// A process that has ended and is never reaped, so that nobody else gets its thread id.
pid_t start_and_leave_a_zombie() {
  const pid_t child = fork();
  require(child >= 0, "a process can be made");
  if (child == 0) _exit(0);
  siginfo_t ended;
  while (waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) continue;
  return child;
}

std::uint32_t inode_of_pid_namespace() {
  struct stat status = {};
  require(stat("/proc/self/ns/pid", &status) == 0, "/proc is mounted");
  return static_cast<std::uint32_t>(status.st_ino);
}

struct World {
  const std::uint32_t me = support::my_tid();
  const std::uint32_t alive = static_cast<std::uint32_t>(start_sleeper());
  const std::uint32_t zombie = static_cast<std::uint32_t>(start_and_leave_a_zombie());
  const std::uint32_t never_was = 0x3fffffff;  // the kernel gives no thread id above 2^22
  const std::uint32_t pid_namespace = inode_of_pid_namespace();
};

const World& world() {
  static const World only;
  return only;
}

enum class Owner : std::uint8_t { nobody, me, alive, dead, unknown };

Owner owner_in(std::uint32_t word) {
  const std::uint32_t tid = owner_of(word);
  if (tid == 0) return Owner::nobody;
  if (tid == world().me) return Owner::me;
  if (tid == world().alive) return Owner::alive;
  constexpr std::uint32_t most_tids = 1U << 22;
  return tid == world().zombie || tid > most_tids ? Owner::dead : Owner::unknown;
}

// --- The memory ---

// One page between two that nobody may touch. The lock lies at the beginning of the page or at its end.
class Fence {
 public:
  Fence() {
    void* const memory = mmap(nullptr, 3 * page, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED &&
                mprotect(static_cast<char*>(memory) + page, page, PROT_READ | PROT_WRITE) == 0,
            "there is memory for three pages");
    inside_ = static_cast<unsigned char*>(memory) + page;
  }
  ReentrantLock& lock(bool at_the_end) const {
    return *std::launder(
        reinterpret_cast<ReentrantLock*>(at_the_end ? inside_ + page - sizeof(ReentrantLock) : inside_));
  }

 private:
  static constexpr std::size_t page = 4096;
  unsigned char* inside_;
};

void fill(ReentrantLock& lock, Input& input) {
  enum { as_it_is, me, alive, zombie, never_was, init, nobody, namings };
  const auto choice = input.take();
  const bool is_of_this_namespace = input.take() % 4 != 3;
  unsigned char bytes[sizeof(ReentrantLock)];
  input.fill(bytes, sizeof bytes);
  std::memcpy(static_cast<void*>(&lock), bytes, sizeof bytes);
  const std::uint32_t flags = word_of(lock) & ~heirlock::detail::owner_mask;
  const World& there = world();
  const std::uint32_t named[namings] = {
      owner_of(word_of(lock)), there.me, there.alive, there.zombie, there.never_was, 1, 0};
  support::set_word(lock, flags | named[choice % namings]);
  if (is_of_this_namespace) fields_of(lock).pid_namespace.store(there.pid_namespace, Order::relaxed);
  if (support::shows_callers_id(lock))
    fields_of(lock).owner_id.store(heirlock::detail::this_thread_record.id + 1, Order::relaxed);
}

// --- What is expected ---

// The lock as it must be: computed from its bytes, and followed through the operations. Nobody else uses it.
class Expected {
 public:
  explicit Expected(ReentrantLock& lock) : lock_(lock), word_(word_of(lock)) {}

  bool is_mine() const { return depth_ > 0; }
  bool is_foreign() const {
    const std::uint32_t of_lock = fields_of(lock_).pid_namespace.load(Order::relaxed);
    return of_lock != 0 && of_lock != world().pid_namespace;
  }
  Owner owner() const { return is_mine() ? Owner::me : owner_in(word_); }
  bool is_gettable() const {
    return is_mine() || is_foreign() || owner() == Owner::nobody || owner() == Owner::me;
  }

  /// `is_repaired`: the acquire has declared the state whole, as a Lockable's does.
  void acquired(AcquireResult result, bool waits, bool is_repaired = false) {
    switch (result) {
      case AcquireResult::reentered:
        require(is_mine(), "who has not acquired a lock does not re-enter it");
        ++depth_;
        return;
      case AcquireResult::not_acquired:
        require(!is_mine() && owner() != Owner::nobody && owner() != Owner::me, "a free lock is taken");
        require(!(waits && owner() == Owner::dead), "who waits for a dead owner inherits");
        require(!waits ? word_of(lock_) == word_ : (word_of(lock_) | waiters_bit) == (word_ | waiters_bit),
                "who gives up changes nothing but WAITERS");
        word_ = word_of(lock_);
        return;
      case AcquireResult::acquired:
        require(!is_mine() && owner() == Owner::nobody && (word_ & owner_died_bit) == 0,
                "acquired is what was free");
        break;
      case AcquireResult::inherited:
        require(!is_mine() && owner() != Owner::alive, "nobody inherits from the living");
        require(owner() != Owner::nobody || (word_ & owner_died_bit) != 0, "nobody inherits what was freed");
        word_ = is_repaired ? word_ & ~owner_died_bit : word_ | owner_died_bit;
        break;
    }
    depth_ = 1;
    const std::uint32_t without_waiters = world().me | (word_ & owner_died_bit);
    const std::uint32_t now = word_of(lock_);
    require((now & ~waiters_bit) == without_waiters, "the word names its owner, and a death");
    require((word_ & waiters_bit) == 0 || (now & waiters_bit) != 0,
            "the mark of sleepers is never lost by a take");
    require(waits || (now & waiters_bit) == (word_ & waiters_bit), "who does not wait leaves no mark");
    word_ = now;
  }

  void released() {
    require(is_mine(), "nobody but the owner releases");
    if (--depth_ > 0) return;
    const std::uint32_t now = word_of(lock_);
    const std::uint32_t flag = word_ & owner_died_bit;
    require(now == flag || ((word_ & waiters_bit) != 0 && now == (flag | waiters_bit)),
            "what is released is free");
    require(flag == 0 || now == (word_ & ~heirlock::detail::owner_mask),
            "an unrepaired death and its sleepers are kept");
    word_ = now;
  }

  void repaired() {
    require(is_mine(), "nobody but the owner repairs");
    word_ &= ~owner_died_bit;
    require(word_of(lock_) == word_, "a repair clears the flag and nothing else");
  }

  /// What the bytes say now is right.
  void begin_anew() {
    depth_ = 0;
    word_ = word_of(lock_);
  }

  void require_what_is_seen() const {
    require(word_of(lock_) == word_, "the word is what the operations made of it");
    require(lock_.is_owned() == is_mine(), "is_owned() is true for the owner");
    require(lock_.depth() == depth_, "depth() is what the caller owes");
    require(static_cast<std::uint32_t>(lock_.owner()) == owner_of(word_), "owner() is the word's");
    require(lock_.needs_repair() == ((word_ & owner_died_bit) != 0), "needs_repair() is the word's");
  }

 private:
  ReentrantLock& lock_;
  std::uint32_t word_;
  std::uint32_t depth_ = 0;
};

// --- The thread's robust list ---

robust_list_head& registered_list() {
  static robust_list_head* const list = [] {
    robust_list_head* head = nullptr;
    std::size_t size = 0;
    require(syscall(SYS_get_robust_list, 0, &head, &size) == 0 && head != nullptr,
            "libc has registered a robust list");
    return head;
  }();
  return *list;
}

/// How many entries are on it. They hang together in both directions, and no mark is pending.
int entries_of_robust_list() {
  const robust_list* const head = &registered_list().list;
  require(registered_list().list_op_pending == nullptr, "no mark is pending after an operation");
  int entries = 0;
  const robust_list* before = head;
  for (const robust_list* at = head->next; at != head; before = at, at = at->next) {
    const robust_list* back = nullptr;  // lies before the link, in libc's nodes too
    std::memcpy(&back, reinterpret_cast<const char*>(at) - sizeof back, sizeof back);
    require(back == before, "an entry of the robust list leads back to the one before");
    require(++entries < 10, "the robust list ends");
  }
  return entries;
}

// What else the thread holds: a lock beside, and a robust mutex of libc's, which share its list.
class Neighbours {
 public:
  Neighbours() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&mutex_, &attributes);
  }
  /// Returns how many are held now.
  int acquire(bool lock, bool mutex) {
    holds_lock_ = lock;
    holds_mutex_ = mutex;
    if (lock) require(lock_.try_acquire() == AcquireResult::acquired, "another lock works");
    if (mutex) require(pthread_mutex_trylock(&mutex_) == 0, "a robust mutex works");
    return (lock ? 1 : 0) + (mutex ? 1 : 0);
  }
  void release() {
    if (holds_lock_) lock_.release();
    if (holds_mutex_) require(pthread_mutex_unlock(&mutex_) == 0, "a robust mutex works to its end");
  }

 private:
  ReentrantLock lock_;
  pthread_mutex_t mutex_;
  bool holds_lock_ = false, holds_mutex_ = false;
};

// --- The operations ---

class Handle : public heirlock::Lockable {
 public:
  explicit Handle(ReentrantLock& lock) : Lockable(lock) {}
  bool throws = false;
  bool was_recovered = false;

 private:
  void recover() override {
    was_recovered = true;
    if (throws) throw std::runtime_error("recover");
  }
};

class Trial {
 public:
  /// `neighbours` other entries are on the thread's robust list meanwhile.
  Trial(ReentrantLock& lock, Input& input, int neighbours)
      : lock_(lock), input_(input), expected_(lock), neighbours_(neighbours) {}

  void run() {
    expected_.require_what_is_seen();
    for (int i = 0; i < most_operations && !input_.is_empty(); ++i) {
      const auto start = Clock::now();
      errno = 4711;
      one_operation();
      require(errno == 4711, "no operation changes errno");
      require(Clock::now() - start < far_too_long, "every operation ends in time");
      expected_.require_what_is_seen();
      require(entries_of_robust_list() == neighbours_ + (expected_.is_mine() ? 1 : 0),
              "the locks that the thread holds are on its robust list, and no others");
    }
    while (expected_.is_mine()) release();
  }

 private:
  void one_operation() {
    switch (input_.take() % 9) {
      case 0:
        return acquire(false, [this] { return lock_.try_acquire(); });
      case 1:
        return acquire(false, [this] { return lock_.acquire_for(std::chrono::nanoseconds(-input_.take())); });
      case 2:
        return acquire_for();
      case 3:
        if (!expected_.is_gettable()) return;  // it would rightly wait for ever
        return acquire(false, [this] { return lock_.acquire(); });
      case 4:
        return release();
      case 5:
        return repair();
      case 6:
        return try_often();
      case 7:
        return use_by_handle(false);
      default:
        return use_by_handle(true);
    }
  }

  template <class Acquire>
  void acquire(bool waits, Acquire&& acquire) {
    const auto before = bytes_of(lock_);
    try {
      const AcquireResult result = acquire();
      require(!expected_.is_foreign() || expected_.is_mine(), "a lock of another PID namespace is refused");
      expected_.acquired(result, waits);
    } catch (const std::system_error& error) {
      require(error.code() == heirlock::errc::foreign_pid_namespace && expected_.is_foreign() &&
                  !expected_.is_mine(),
              "a lock is refused for its PID namespace alone");
      require(bytes_of(lock_) == before, "a refusal changes nothing");
    }
  }

  void acquire_for() {
    const auto choice = input_.take();  // nearly always a few microseconds, to stay fast
    if (!expected_.is_gettable() && ++waits_ > most_waits) return;
    const std::chrono::microseconds timeout(choice == 253 ? 2000 : choice / 32);
    const auto start = Clock::now();
    acquire(timeout.count() > 0, [&] {
      const AcquireResult result = lock_.acquire_for(timeout);
      require(result != AcquireResult::not_acquired || Clock::now() - start >= timeout,
              "nobody gives up early");
      return result;
    });
  }

  // One failed try of 64 asks after the owner, on the average: of 2000 none does in one case of 4e13.
  void try_often() {
    const Owner owner = expected_.owner();
    const int most_tries = owner == Owner::dead ? 2000 : 65;
    for (int i = 0; i < most_tries && !expected_.is_mine() && !expected_.is_foreign(); ++i)
      acquire(false, [this] { return lock_.try_acquire(); });
    require(owner != Owner::dead || expected_.is_mine() || expected_.is_foreign(),
            "who tries often enough inherits from the dead");
  }

  void release() {
    const auto before = bytes_of(lock_);
    try {
      lock_.release();
      expected_.released();
    } catch (const heirlock::AssertionError&) {
      require(!expected_.is_mine(), "the owner may release");
      require(bytes_of(lock_) == before, "a refused release changes nothing");
    }
  }

  void repair() {
    const auto before = bytes_of(lock_);
    try {
      lock_.repaired();
      expected_.repaired();
    } catch (const heirlock::AssertionError&) {
      require(!expected_.is_mine(), "the owner may repair");
      require(bytes_of(lock_) == before, "a refused repair changes nothing");
    }
  }

  // Through a Lockable that lives for this operation. Its end leaves the lock as it is, perhaps held.
  void use_by_handle(bool throws) {
    if (expected_.is_foreign() || expected_.is_mine()) return;
    Handle handle(lock_);
    handle.throws = throws;
    const auto word = word_of(lock_);
    try {
      if (!handle.acquire(false)) {
        require(!handle.was_recovered, "who gets no lock recovers nothing");
        return expected_.acquired(AcquireResult::not_acquired, false);
      }
    } catch (const std::runtime_error&) {
      require(handle.was_recovered && !lock_.is_owned() && lock_.needs_repair(),
              "when recover() throws the lock is released with its flag kept");
      return expected_.begin_anew();
    }
    const bool inherits = owner_of(word) != 0 || (word & owner_died_bit) != 0;
    require(handle.was_recovered == inherits && !(inherits && throws), "who inherits recovers");
    expected_.acquired(inherits ? AcquireResult::inherited : AcquireResult::acquired, false, inherits);
    if (input_.take() % 2 == 0) {
      handle.release();
      expected_.released();
    }
  }

  ReentrantLock& lock_;
  Input& input_;
  Expected expected_;
  const int neighbours_;
  int waits_ = 0;
};

}  // namespace

// Spec: lock.timeout.ends, lock.try.busy, lock.error.unchanged, lock.inherit.missed
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Fence fence;
  static Neighbours neighbours;
  static const int sharp_clock = prctl(PR_SET_TIMERSLACK, 1);  // or each wait takes 50 us longer
  require(sharp_clock == 0, "the timer slack can be set");
  Input input(data, size);
  const auto flags = input.take();
  ReentrantLock& lock = fence.lock((flags & 1) != 0);
  fill(lock, input);
  Trial(lock, input, neighbours.acquire((flags & 2) != 0, (flags & 4) != 0)).run();
  neighbours.release();

  require(neighbours.acquire(true, true) == entries_of_robust_list(),
          "what is acquired afterwards is listed");
  neighbours.release();
  require(entries_of_robust_list() == 0, "what is released is not listed");
  return 0;
}
