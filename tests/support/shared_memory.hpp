// Memory that a test's forked processes share, made without the library under test.
#ifndef HEIRLOCK_TESTS_SUPPORT_SHARED_MEMORY_HPP
#define HEIRLOCK_TESTS_SUPPORT_SHARED_MEMORY_HPP

#include <semaphore.h>
#include <sys/mman.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <new>
#include <utility>

namespace support {

/// One T in a mapping of its own that forked children share.
template <class T>
class InSharedMemory {
 public:
  template <class... Args>
  explicit InSharedMemory(Args&&... args) {
    void* const memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    object_ = ::new (memory) T(std::forward<Args>(args)...);
  }
  InSharedMemory(const InSharedMemory&) = delete;
  InSharedMemory& operator=(const InSharedMemory&) = delete;
  ~InSharedMemory() { munmap(static_cast<void*>(object_), sizeof(T)); }

  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }

 private:
  T* object_;
};

/// Opens once or often; each wait passes one opening. How one party of a test tells another to go on.
class Gate {
 public:
  Gate() { sem_init(&*semaphore_, 1, 0); }
  void open(int times = 1) {
    while (times-- > 0) sem_post(&*semaphore_);
  }
  void wait() {
    while (sem_wait(&*semaphore_) != 0 && errno == EINTR) continue;
  }
  /// Passes when it opens within this time; returns whether it did. For what must not be waited for in vain.
  bool wait_for(std::chrono::seconds time) {
    // Second by second, as the clock may be set forward; ThreadSanitizer knows no sem_clockwait().
    for (; time.count() > 0; --time) {
      timespec until{};
      clock_gettime(CLOCK_REALTIME, &until);
      ++until.tv_sec;
      do
        if (sem_timedwait(&*semaphore_, &until) == 0) return true;
      while (errno == EINTR);
    }
    return false;
  }
  /// Passes if it is open already.
  bool try_wait() { return sem_trywait(&*semaphore_) == 0; }

 private:
  InSharedMemory<sem_t> semaphore_;
};

}  // namespace support
#endif
