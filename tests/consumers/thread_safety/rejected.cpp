// Wrong use, each of which Clang's -Wthread-safety must reject with the words that stand at it. `-verify`
// makes the compiler fail when one is missing, or when there is one more.
// Spec: build.thread-safety
#include <heirlock/lockable.hpp>

#include "annotations.hpp"

using heirlock::ReentrantLock;

struct Tally {
  ReentrantLock lock;
  int count GUARDED_BY(lock) = 0;
};

int reads_without_the_lock(Tally& tally) {
  return tally.count;  // expected-error {{reading variable 'count' requires holding mutex 'tally.lock'}}
}

void writes_without_the_lock(Tally& tally) {
  tally.count = 1;  // expected-error {{writing variable 'count' requires holding mutex 'tally.lock'}}
}

void writes_after_the_unlock(Tally& tally) {
  tally.lock.lock();
  tally.lock.unlock();
  tally.count = 1;  // expected-error {{writing variable 'count' requires holding mutex 'tally.lock'}}
}

void writes_under_another_lock(Tally& tally, ReentrantLock& another) {
  another.lock();
  tally.count = 1;  // expected-error {{writing variable 'count' requires holding mutex 'tally.lock'}}
  another.unlock();
}

void forgets_to_unlock(Tally& tally) {
  tally.lock.lock();
  tally.count = 1;
}  // expected-error {{mutex 'tally.lock' is still held at the end of function}}

void forgets_to_release(Tally& tally) {
  static_cast<void>(tally.lock.acquire());
  tally.count = 1;
}  // expected-error {{mutex 'tally.lock' is still held at the end of function}}

void forgets_to_unlock_on_one_path(Tally& tally, bool early) {
  tally.lock.lock();
  if (early) return;
  tally.lock.unlock();
}  // expected-error {{mutex 'tally.lock' is not held on every path through here}}

void unlocks_without_a_lock(Tally& tally) {
  tally.lock.unlock();  // expected-error {{releasing mutex 'tally.lock' that was not held}}
}

void releases_without_an_acquire(Tally& tally) {
  tally.lock.release();  // expected-error {{releasing mutex 'tally.lock' that was not held}}
}

void ignores_that_a_try_failed(Tally& tally) {
  if (!tally.lock.try_lock()) {
    tally.count = 1;  // expected-error {{writing variable 'count' requires holding mutex 'tally.lock'}}
    return;
  }
  tally.lock.unlock();
}

class Counter : public heirlock::Lockable {
 public:
  int reads_without_the_lock() const {
    return *value_;  // expected-error {{reading variable 'value_' requires holding mutex 'this'}}
  }

  int reads_through_a_pointer_without_the_lock() const {
    return *cached_;  // expected-error {{the value pointed to by 'cached_' requires holding mutex 'this'}}
  }

  void forgets_to_unlock() {
    lock();
    *value_ = 1;
  }  // expected-error {{mutex 'this' is still held at the end of function}}

  void forgets_to_release() {
    if (acquire(false)) *value_ = 1;
  }  // expected-error {{mutex 'this' is not held on every path through here}}

  void unlocks_without_a_lock() {
    unlock();  // expected-error {{releasing mutex 'this' that was not held}}
  }

  void releases_without_an_acquire() {
    release();  // expected-error {{releasing mutex 'this' that was not held}}
  }

  int calls_what_requires_the_lock_without_it() {
    return requires_the_lock();  // expected-error {{requires holding mutex 'this' exclusively}}
  }

  int calls_a_lambda_that_requires_the_lock_without_it() {
    const auto read = [this]() REQUIRES(this) { return *value_; };
    return read();  // expected-error {{requires holding mutex 'this' exclusively}}
  }

  int requires_the_lock() REQUIRES(this) { return *value_; }

 private:
  heirlock::Shared<int> value_ GUARDED_BY(this){0};
  int* cached_ PT_GUARDED_BY(this) = value_.get();
};
