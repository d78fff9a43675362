// Correct use, all of which Clang's -Wthread-safety must accept.
// Spec: build.thread-safety
#include <chrono>
#include <heirlock/lockable.hpp>
#include <mutex>
#include <optional>

#include "annotations.hpp"

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using namespace std::chrono_literals;

// --- A lock beside what it guards --------------------------------------------------------------------------

struct Tally {
  ReentrantLock lock;
  int count GUARDED_BY(lock) = 0;
};

int between_lock_and_unlock(Tally& tally) {
  tally.lock.lock();
  const int count = ++tally.count;
  tally.lock.unlock();
  return count;
}

int between_acquire_and_release(Tally& tally) {
  const bool whole = tally.lock.acquire() != AcquireResult::inherited;
  if (!whole) {
    tally.count = 0;
    tally.lock.repaired();
  }
  const int count = tally.count;
  tally.lock.release();
  return count;
}

bool after_a_try_that_succeeded(Tally& tally) {
  if (!tally.lock.try_lock()) return false;
  ++tally.count;
  tally.lock.unlock();
  return true;
}

void after_a_timed_try_that_succeeded(Tally& tally) {
  if (tally.lock.try_lock_for(1s)) {
    ++tally.count;
    tally.lock.unlock();
  }
  if (tally.lock.try_lock_until(std::chrono::steady_clock::now() + 1s)) {
    ++tally.count;
    tally.lock.unlock();
  }
}

// The analysis cannot follow a result that is no bool, nor a guard of a standard library without annotations
// (libstdc++). An assertion tells it what the program knows.
void assert_owned(ReentrantLock& lock) ASSERT_CAPABILITY(lock);

void after_a_result_that_says_so(Tally& tally) {
  switch (tally.lock.acquire_for(1s)) {
    case AcquireResult::not_acquired:
      return;
    case AcquireResult::acquired:
    case AcquireResult::reentered:
    case AcquireResult::inherited:
      assert_owned(tally.lock);
      ++tally.count;
      tally.lock.release();
  }
}

void under_a_guard_of_the_standard(Tally& tally) {
  const std::lock_guard<ReentrantLock> guard(tally.lock);
  assert_owned(tally.lock);
  ++tally.count;
}

// Or a guard with annotations.
class SCOPED_CAPABILITY Guard {
 public:
  explicit Guard(ReentrantLock& lock) ACQUIRE(lock) : lock_(lock) { lock.lock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() RELEASE() { lock_.unlock(); }

 private:
  ReentrantLock& lock_;
};

void under_a_guard_with_annotations(Tally& tally) {
  const Guard guard(tally.lock);
  ++tally.count;
}

// --- An object that is its own lock ------------------------------------------------------------------------

class Counter : public heirlock::Lockable {
 public:
  int between_lock_and_unlock() {
    lock();
    const int value = ++*value_ + *cached_;
    unlock();
    return value;
  }

  int between_acquire_and_release() {
    if (acquire(false)) {
      const int value = ++*value_;
      release();
      return value;
    }
    return 0;
  }

  void in_every_form_of_acquire() {
    if (acquire()) {
      ++*value_;
      release();
    }
    if (acquire(true, 1s)) {
      ++*value_;
      release();
    }
    if (acquire(true, std::nullopt)) {
      ++*value_;
      release();
    }
    if (acquire(true, std::optional<std::chrono::seconds>())) {
      ++*value_;
      release();
    }
  }

  bool after_a_try_that_succeeded() {
    if (!try_lock()) return false;
    ++*value_;
    unlock();
    return true;
  }

  void after_a_timed_try_that_succeeded() {
    if (try_lock_for(1s)) {
      ++*value_;
      unlock();
    }
    if (try_lock_until(std::chrono::steady_clock::now() + 1s)) {
      ++*value_;
      unlock();
    }
  }

  // A lambda is a function of its own to the analysis, so it says what it requires.
  int in_locked() {
    return locked([this]() REQUIRES(this) { return ++*value_; });
  }
  int in_locked_of_a_const_object() const {
    return locked([this]() REQUIRES(this) { return *value_; });
  }
  static int in_locked_of_another(Counter& other) {
    return other.locked([&other]() REQUIRES(other) { return ++*other.value_; });
  }

  int in_a_method_that_requires_the_lock() REQUIRES(this) { return ++*value_; }
  int in_a_locked_method_that_calls_another() {
    return locked([this]() REQUIRES(this) { return in_a_method_that_requires_the_lock() + in_locked(); });
  }

 private:
  void recover() REQUIRES(this) override { *value_ = 0; }

  heirlock::Shared<int> value_ GUARDED_BY(this){0};
  int* cached_ PT_GUARDED_BY(this) = value_.get();
};

int through_the_decorator(Counter& counter) {
  return heirlock::locked<&Counter::in_a_method_that_requires_the_lock>(counter);
}

int from_outside(Counter& counter) {
  counter.lock();
  const int value = counter.in_a_method_that_requires_the_lock() + counter.in_locked();
  counter.unlock();
  return value;
}
