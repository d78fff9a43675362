#include "stress/substitute.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>

#include "heirlock/error.hpp"
#include "heirlock/shared.hpp"
#include "stress/clock.hpp"
#include "support/libc_mutex.hpp"

namespace stress {
namespace {

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::system_category(), what);
}

void require(int error, const char* what) {
  if (error != 0) fail(error, what);
}

// On CLOCK_REALTIME, as ThreadSanitizer does not know of the waits on another clock.
timespec moment_after(std::chrono::nanoseconds duration) {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return as_timespec(time.tv_sec * second + time.tv_nsec + duration.count());
}

// glibc's, of which it reads who the owner is: pthreads has no function that tells.
class PthreadMutex : public Alternative {
 public:
  explicit PthreadMutex(bool is_robust) : is_robust_(is_robust) {
    require(support::make_libc_mutex(*mutex_, PTHREAD_MUTEX_RECURSIVE, is_robust_), "pthread_mutex_init");
  }

  Taken take(Patience patience) override {
    const int error = wait(patience);
    switch (error) {
      case 0:
        return Taken::yes;
      case EOWNERDEAD:
        return Taken::from_the_dead;
      case EBUSY:
      case ETIMEDOUT:
        return Taken::no;
      default:
        fail(error, "pthread_mutex_lock");
    }
  }

  void give() override {
    const int error = pthread_mutex_unlock(mutex_.get());
    if (error == EPERM)
      throw heirlock::AssertionError("pthread_mutex_unlock by a thread that is not the owner");
    require(error, "pthread_mutex_unlock");
  }

  // glibc refuses even a nested unlock before this.
  void accept_inheritance() override {
    require(pthread_mutex_consistent(mutex_.get()), "pthread_mutex_consistent");
  }

  pid_t owner() const override {
    const auto word = static_cast<std::uint32_t>(__atomic_load_n(&mutex_->__data.__lock, __ATOMIC_RELAXED));
    if (is_robust_) return static_cast<pid_t>(word & FUTEX_TID_MASK);
    if (word == 0) return 0;
    const int owner = __atomic_load_n(&mutex_->__data.__owner, __ATOMIC_RELAXED);
    return owner != 0 ? owner : somebody;
  }

  std::uint32_t depth() const override { return owner() == gettid() ? mutex_->__data.__count : 0; }

 private:
  int wait(Patience patience) {
    if (!patience) return pthread_mutex_lock(mutex_.get());
    if (patience->count() == 0) return pthread_mutex_trylock(mutex_.get());
    const timespec deadline = moment_after(*patience);
    return pthread_mutex_timedlock(mutex_.get(), &deadline);
  }

  const bool is_robust_;
  heirlock::Shared<pthread_mutex_t> mutex_;
};

struct OwnedSemaphore {
  sem_t semaphore;
  std::atomic<pid_t> owner;  // for whoever looks on
};

// A semaphore of 1, made reentrant as such locks are: each process notes which of its threads has it.
class Semaphore : public Alternative {
 public:
  Semaphore() {
    if (sem_init(&shared_->semaphore, 1, 1) != 0) fail(errno, "sem_init");
  }

  Taken take(Patience patience) override {
    if (depth() == 0) {
      if (!wait(patience)) return Taken::no;
      holder_.store(pthread_self(), std::memory_order_relaxed);
      shared_->owner.store(gettid(), std::memory_order_relaxed);
    }
    ++depth_;
    return Taken::yes;
  }

  void give() override {
    if (depth() == 0) throw heirlock::AssertionError("sem_post by a thread that did not wait for it");
    if (--depth_ > 0) return;
    holder_.store(0, std::memory_order_relaxed);
    shared_->owner.store(0, std::memory_order_relaxed);
    sem_post(&shared_->semaphore);
  }

  pid_t owner() const override {
    int value = 0;
    sem_getvalue(&shared_->semaphore, &value);
    if (value > 0) return 0;
    const pid_t owner = shared_->owner.load(std::memory_order_relaxed);
    return owner != 0 ? owner : somebody;
  }

  std::uint32_t depth() const override {
    return holder_.load(std::memory_order_relaxed) == pthread_self() ? depth_ : 0;
  }

 private:
  bool wait(Patience patience) {
    const bool is_try = patience && patience->count() == 0;
    const timespec deadline = patience && !is_try ? moment_after(*patience) : timespec{};
    for (;;) {
      const int result = !patience ? sem_wait(&shared_->semaphore)
                         : is_try  ? sem_trywait(&shared_->semaphore)
                                   : sem_timedwait(&shared_->semaphore, &deadline);
      if (result == 0) return true;
      if (errno == EAGAIN || errno == ETIMEDOUT) return false;
      if (errno != EINTR) fail(errno, "sem_wait");
    }
  }

  heirlock::Shared<OwnedSemaphore> shared_;
  std::atomic<pthread_t> holder_{0};
  std::uint32_t depth_ = 0;  // the holder's
};

}  // namespace

std::unique_ptr<Alternative> make_alternative(LockKind kind) {
  if (kind == LockKind::sem) return std::make_unique<Semaphore>();
  return std::make_unique<PthreadMutex>(kind == LockKind::pthread_robust);
}

}  // namespace stress
