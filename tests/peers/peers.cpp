// Shows what happens to heirlock and to the locks that people use instead, when the same misfortunes befall
// their owner. Every answer is observed in this run.
#include <errno.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
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
enum class Take { timed_out, taken, taken_and_told };

struct Heirlock {
  static std::string name() { return "heirlock"; }
  heirlock::ReentrantLock lock;
  void acquire() { lock.lock(); }
  Take acquire_within_a_second() {
    switch (lock.acquire_for(std::chrono::seconds(1))) {
      case heirlock::AcquireResult::not_acquired:
        return Take::timed_out;
      case heirlock::AcquireResult::inherited:
        return Take::taken_and_told;
      default:
        return Take::taken;
    }
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
    return result == ETIMEDOUT ? Take::timed_out : result == EOWNERDEAD ? Take::taken_and_told : Take::taken;
  }
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
void print() {
  std::printf("%-22s | %-17s | %-22s | %-17s | %s\n", Lock::name().c_str(), after_a_kill<Lock>().c_str(),
              after_a_kill_with_many_held<Lock>().c_str(), after_exec_by_another_thread<Lock>().c_str(),
              release_by_a_child<Lock>().c_str());
  std::fflush(stdout);
}

}  // namespace

int main() {
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
