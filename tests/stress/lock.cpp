#include "stress/lock.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "heirlock/lockable.hpp"
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
timespec deadline_after(Nanoseconds duration) {
  return as_timespec(read(CLOCK_REALTIME) + duration);
}

class Heirlock : public Lock, private heirlock::Lockable {
 public:
  explicit Heirlock(std::function<void()> recover) : Lock(std::move(recover)) {}

  bool acquire(Patience patience) override {
    if (!patience) return Lockable::acquire();
    return Lockable::acquire(*patience > 0, std::chrono::nanoseconds(*patience));
  }
  void release() override { Lockable::release(); }
  std::uint32_t depth() override { return mutex().depth(); }
  pid_t owner() override { return mutex().owner(); }

 private:
  void recover() override { recover_(); }
};

// glibc's mutex. No function of pthreads tells the owner, so this reads glibc's fields.
class PthreadMutex : public Lock {
 public:
  PthreadMutex(bool is_robust, std::function<void()> recover)
      : Lock(std::move(recover)), is_robust_(is_robust) {
    require(make_libc_mutex(*mutex_, PTHREAD_MUTEX_RECURSIVE, is_robust_), "pthread_mutex_init");
  }

  bool acquire(Patience patience) override {
    const int error = wait(patience);
    if (error == EBUSY || error == ETIMEDOUT) return false;
    if (error == EOWNERDEAD) {
      // First, as glibc refuses even a nested unlock before. A heir that is killed while it recovers leaves
      // the lock to be inherited again.
      require(pthread_mutex_consistent(mutex_.get()), "pthread_mutex_consistent");
      recover_();
    } else {
      require(error, "pthread_mutex_lock");
    }
    return true;
  }

  void release() override {
    const int error = pthread_mutex_unlock(mutex_.get());
    if (error == EPERM)
      throw heirlock::AssertionError("pthread_mutex_unlock by a thread that is not the owner");
    require(error, "pthread_mutex_unlock");
  }

  std::uint32_t depth() override { return owner() == gettid() ? mutex_->__data.__count : 0; }

  pid_t owner() override {
    const auto word = static_cast<std::uint32_t>(__atomic_load_n(&mutex_->__data.__lock, __ATOMIC_RELAXED));
    if (is_robust_) return static_cast<pid_t>(word & FUTEX_TID_MASK);
    if (word == 0) return 0;
    const int owner = __atomic_load_n(&mutex_->__data.__owner, __ATOMIC_RELAXED);
    return owner != 0 ? owner : unknown;
  }

 private:
  int wait(Patience patience) {
    if (!patience) return pthread_mutex_lock(mutex_.get());
    if (*patience == 0) return pthread_mutex_trylock(mutex_.get());
    const timespec deadline = deadline_after(*patience);
    return pthread_mutex_timedlock(mutex_.get(), &deadline);
  }

  const bool is_robust_;
  heirlock::Shared<pthread_mutex_t> mutex_;
};

// A semaphore of 1, made reentrant as such locks are: each process notes which of its threads has it.
class Semaphore : public Lock {
 public:
  explicit Semaphore(std::function<void()> recover) : Lock(std::move(recover)) {
    if (sem_init(&shared_->semaphore, 1, 1) != 0) fail(errno, "sem_init");
  }

  bool acquire(Patience patience) override {
    if (depth() == 0) {
      if (!wait(patience)) return false;
      holder_.store(pthread_self(), std::memory_order_relaxed);
      shared_->owner.store(gettid(), std::memory_order_relaxed);
    }
    ++depth_;
    return true;
  }

  void release() override {
    if (depth() == 0) throw heirlock::AssertionError("sem_post by a thread that did not wait for it");
    if (--depth_ > 0) return;
    holder_.store(0, std::memory_order_relaxed);
    shared_->owner.store(0, std::memory_order_relaxed);
    sem_post(&shared_->semaphore);
  }

  std::uint32_t depth() override {
    return holder_.load(std::memory_order_relaxed) == pthread_self() ? depth_ : 0;
  }

  pid_t owner() override {
    int value = 0;
    sem_getvalue(&shared_->semaphore, &value);
    if (value > 0) return 0;
    const pid_t owner = shared_->owner.load(std::memory_order_relaxed);
    return owner != 0 ? owner : unknown;
  }

 private:
  struct Shared {
    sem_t semaphore;
    std::atomic<pid_t> owner;  // for the supervisor
  };

  bool wait(Patience patience) {
    const timespec deadline = deadline_after(patience.value_or(0));
    for (;;) {
      const int result = !patience        ? sem_wait(&shared_->semaphore)
                         : *patience == 0 ? sem_trywait(&shared_->semaphore)
                                          : sem_timedwait(&shared_->semaphore, &deadline);
      if (result == 0) return true;
      if (errno == EAGAIN || errno == ETIMEDOUT) return false;
      if (errno != EINTR) fail(errno, "sem_wait");
    }
  }

  heirlock::Shared<Shared> shared_;
  std::atomic<pthread_t> holder_{0};
  std::uint32_t depth_ = 0;  // the holder's
};

}  // namespace

std::unique_ptr<Lock> make_lock(LockKind kind, std::function<void()> recover) {
  if (kind == LockKind::heirlock) return std::make_unique<Heirlock>(std::move(recover));
  if (kind == LockKind::sem) return std::make_unique<Semaphore>(std::move(recover));
  return std::make_unique<PthreadMutex>(kind == LockKind::pthread_robust, std::move(recover));
}

}  // namespace stress
