// Shows what happens to heirlock and to the locks that people use instead, when the same misfortunes befall
// their owner. Every answer is observed in this run.
#include <errno.h>
#include <gnu/libc-version.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "heirlock/reentrant_lock.hpp"
#include "support/libc_mutex.hpp"
#ifdef HEIRLOCK_PEERS_BOOST
#include <boost/date_time/posix_time/posix_time.hpp>
#include <boost/interprocess/sync/interprocess_recursive_mutex.hpp>
#include <boost/version.hpp>
#endif

namespace {

constexpr int many = 2100;
enum class Take { not_tried, timed_out, taken, taken_and_told, refused, lost };

struct Heirlock {
  static std::string name() { return "heirlock"; }
  heirlock::ReentrantLock lock;
  void acquire() { lock.lock(); }
  Take acquire_within_a_second() try {
    switch (lock.acquire_for(std::chrono::seconds(1))) {
      case heirlock::AcquireResult::not_acquired:
        return Take::timed_out;
      case heirlock::AcquireResult::inherited:
        return Take::taken_and_told;
      default:
        return Take::taken;
    }
  } catch (const std::system_error&) {  // from another PID namespace
    return Take::refused;
  }
  bool repair() try {
    lock.repaired();
    return true;
  } catch (const heirlock::AssertionError&) {
    return false;
  }
  void release() {
    try {
      lock.release();
    } catch (const heirlock::AssertionError&) {  // the child that does not own it
    }
  }
};

template <bool robust>
struct Glibc {
  static std::string name() {
    return std::string("glibc ") + gnu_get_libc_version() + (robust ? " robust" : " not robust");
  }
  pthread_mutex_t mutex;
  Glibc() { support::make_libc_mutex(mutex, PTHREAD_MUTEX_RECURSIVE, robust); }
  void acquire() { pthread_mutex_lock(&mutex); }
  Take acquire_within_a_second() {
    timespec deadline{};
    clock_gettime(CLOCK_REALTIME, &deadline);
    ++deadline.tv_sec;
    const int result = pthread_mutex_timedlock(&mutex, &deadline);
    return result == ETIMEDOUT         ? Take::timed_out
           : result == EOWNERDEAD      ? Take::taken_and_told
           : result == ENOTRECOVERABLE ? Take::lost
                                       : Take::taken;
  }
  bool repair() { return pthread_mutex_consistent(&mutex) == 0; }
  void release() { pthread_mutex_unlock(&mutex); }
};

#ifdef HEIRLOCK_PEERS_BOOST
struct Boost {
  static std::string name() { return "Boost " BOOST_LIB_VERSION; }
  boost::interprocess::interprocess_recursive_mutex mutex;
  void acquire() { mutex.lock(); }
  Take acquire_within_a_second() {
    using namespace boost::posix_time;
    return mutex.timed_lock(microsec_clock::universal_time() + seconds(1)) ? Take::taken : Take::timed_out;
  }
  void release() { mutex.unlock(); }
};
#endif

// Runs the body in a child, and returns when that has ended: it is killed if the body returns.
void in_a_doomed_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    kill(getpid(), SIGKILL);
    _exit(0);  // process 1 of a PID namespace does not die of its own signal
  }
  waitpid(child, nullptr, 0);
}

template <class Lock>
class Locks {
 public:
  explicit Locks(int count)
      : size_(sizeof(Lock) * static_cast<std::size_t>(count)),
        memory_(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) std::abort();
    for (int index = 0; index < count; ++index) ::new (static_cast<void*>(&(*this)[index])) Lock;
  }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;
  ~Locks() { munmap(memory_, size_); }
  Lock& operator[](int index) { return static_cast<Lock*>(memory_)[index]; }

 private:
  std::size_t size_;
  void* memory_;
};

// Takes the lock if it can be had within a second, and gives it back.
template <class Lock>
Take try_for_a_second(Lock& lock) {
  const Take take = lock.acquire_within_a_second();
  if (take != Take::timed_out) lock.release();
  return take;
}

const char* in_words(Take take) {
  switch (take) {
    case Take::timed_out:
      return "blocked for ever";
    case Take::taken:
      return "goes on, not told";
    case Take::taken_and_told:
      return "goes on, is told";
    case Take::refused:
      return "is refused";
    case Take::lost:
      return "lost for good";
    case Take::not_tried:
      return "not permitted here";
  }
  return "";
}

template <class Lock>
std::string after_a_kill() {
  Locks<Lock> lock(1);
  in_a_doomed_child([&] { lock[0].acquire(); });
  return in_words(try_for_a_second(lock[0]));
}

template <class Lock>
std::string after_a_kill_with_many_held() {
  Locks<Lock> locks(many);
  in_a_doomed_child([&] {
    for (int index = 0; index < many; ++index) locks[index].acquire();
  });
  int blocked = 0;
  for (int index = 0; index < many && blocked < 2; ++index)
    blocked += try_for_a_second(locks[index]) == Take::timed_out;
  return blocked == 0 ? "all can be taken" : "some blocked for ever";
}

template <class Lock>
std::string after_exec_by_another_thread() {
  Locks<Lock> lock(1);
  int line[2];
  if (pipe(line) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(line[1], STDOUT_FILENO);
    std::thread([&] {
      lock[0].acquire();
      execlp("sh", "sh", "-c", "echo; exec sleep 60", nullptr);
      _exit(1);
    }).join();
  }
  char byte;
  if (read(line[0], &byte, 1) != 1) std::abort();  // exec has happened
  close(line[0]);
  close(line[1]);
  const Take take = try_for_a_second(lock[0]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return in_words(take);
}

template <class Lock>
std::string release_by_a_child() {
  Locks<Lock> lock(1);
  lock[0].acquire();
  in_a_doomed_child([&] { lock[0].release(); });
  Locks<bool> free(1);
  in_a_doomed_child([&] { free[0] = lock[0].acquire_within_a_second() != Take::timed_out; });
  if (!free[0]) lock[0].release();
  return free[0] ? "releases it" : "does not";
}

template <class Lock>
std::string after_an_unrepaired_release() {
  Locks<Lock> lock(1);
  in_a_doomed_child([&] { lock[0].acquire(); });
  try_for_a_second(lock[0]);
  return in_words(try_for_a_second(lock[0]));
}

template <class Lock>
std::string repair_by_a_stranger() {
  Locks<Lock> lock(1);
  Locks<bool> done(1);
  in_a_doomed_child([&] { lock[0].acquire(); });
  lock[0].acquire_within_a_second();
  in_a_doomed_child([&] { done[0] = lock[0].repair(); });
  lock[0].release();
  return done[0] ? "is believed" : "is refused";
}

// Runs the body as process 1 of a new PID namespace, if that is permitted.
void as_process_1(const std::function<void()>& body) {
  in_a_doomed_child([&] {
    if (unshare(CLONE_NEWPID) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0) in_a_doomed_child(body);
  });
}

// Two processes with one thread id, each in a PID namespace of its own.
template <class Lock>
std::string by_a_namesake_in_another_pid_namespace() {
  Locks<Lock> lock(1);
  Locks<Take> take(1);
  as_process_1([&] {
    lock[0].acquire();
    as_process_1([&] { take[0] = lock[0].acquire_within_a_second(); });
  });
  return take[0] == Take::taken ? "GETS IT AS WELL" : in_words(take[0]);
}

// What the kernel looks at when the thread ends: if the memory serves something else by then, it may change
// that.
template <class Lock>
std::string mark_after_a_timeout() {
  Locks<Lock> lock(1);
  Locks<bool> marked(1);
  lock[0].acquire();
  in_a_doomed_child([&] {
    robust_list_head* head = nullptr;
    std::size_t size = 0;
    lock[0].acquire_within_a_second();
    marked[0] = syscall(SYS_get_robust_list, 0, &head, &size) == 0 && head->list_op_pending != nullptr;
  });
  lock[0].release();
  return marked[0] ? "stays" : "is taken back";
}

template <class Lock>
void print() {
  std::printf("%-22s | %-17s | %-22s | %-17s | %s\n", Lock::name().c_str(), after_a_kill<Lock>().c_str(),
              after_a_kill_with_many_held<Lock>().c_str(), after_exec_by_another_thread<Lock>().c_str(),
              release_by_a_child<Lock>().c_str());
  std::fflush(stdout);
}

template <class Lock>
void print_what_only_robust_locks_have() {
  std::printf("%-22s | %-18s | %-20s | %-22s | %s\n", Lock::name().c_str(),
              after_an_unrepaired_release<Lock>().c_str(), repair_by_a_stranger<Lock>().c_str(),
              by_a_namesake_in_another_pid_namespace<Lock>().c_str(), mark_after_a_timeout<Lock>().c_str());
  std::fflush(stdout);
}

}  // namespace

// With an argument: what only robust locks can be asked.
int main(int argc, char**) {
  if (argc > 1) {
    std::printf("%-22s | %-18s | %-20s | %-22s | %s\n", "lock", "unrepaired release", "repair by a stranger",
                "same tid, other PID ns", "mark after a timeout");
    print_what_only_robust_locks_have<Heirlock>();
    print_what_only_robust_locks_have<Glibc<true>>();
    return 0;
  }
  std::printf("%-22s | %-17s | %-22s | %-17s | %s\n", "lock", "owner is killed", "owner of 2,100 killed",
              "owner calls exec*", "release by a child");
  std::fflush(stdout);
  print<Heirlock>();
  print<Glibc<true>>();
  print<Glibc<false>>();
#ifdef HEIRLOCK_PEERS_BOOST
  print<Boost>();
#endif
}
