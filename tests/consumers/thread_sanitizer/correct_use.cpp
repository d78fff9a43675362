// Correct use by many threads, of which ThreadSanitizer must report nothing. It sees the lock's own atomic
// operations, but neither the kernel's store that frees a lock, nor its wake-ups.
// Spec: build.thread-sanitizer
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <heirlock/lockable.hpp>
#include <mutex>
#include <thread>
#include <vector>

using heirlock::AcquireResult;
using heirlock::ReentrantLock;
using namespace std::chrono_literals;

namespace {

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "expected %s\n", what);
  std::_Exit(1);
}

// The lock's first field, laid down in SPECIFICATION.md.
std::uint32_t word_of(const ReentrantLock& lock) {
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(lock).load(std::memory_order_relaxed);
}
bool has_waiters(const ReentrantLock& lock) {
  return (word_of(lock) & 0x80000000) != 0;
}

// Tells another thread to go on, and orders nothing: the lock alone must do that.
class Signal {
 public:
  void give() { given_.store(true, std::memory_order_relaxed); }
  void await() const {
    while (!given_.load(std::memory_order_relaxed)) std::this_thread::yield();
  }

 private:
  std::atomic<bool> given_{false};
};

// Claim: what was written before a release that wakes a sleeper is seen by the one who was woken.
void a_woken_sleeper_reads_what_was_written() {
  ReentrantLock lock;
  int data = 0;
  lock.lock();
  std::thread sleeper([&] {
    lock.lock();
    expect(data == 1, "the sleeper to read what the owner wrote");
    lock.unlock();
  });
  while (!has_waiters(lock)) std::this_thread::yield();
  data = 1;
  lock.unlock();
  sleeper.join();
}

// Claim: what was written before a release that is the kernel's own store is seen by the next owner.
void a_release_by_the_kernel_publishes_what_was_written() {
  ReentrantLock lock;
  int data = 0;
  Signal released;
  Signal done;
  lock.lock();
  std::thread other([&] {
    lock.lock();    // with WAITERS set
    lock.unlock();  // keeps it, wakes, and finds nobody
    lock.lock();
    data = 1;
    lock.unlock();  // so this one drops it in the kernel
    released.give();
    done.await();  // its end would order everything
  });
  while (!has_waiters(lock)) std::this_thread::yield();
  lock.unlock();
  released.await();
  expect(word_of(lock) == 0, "the kernel to have freed the lock");
  lock.lock();
  expect(data == 1, "the next owner to read what was written");
  lock.unlock();
  done.give();
  other.join();
}

// Ends a thread as the lock's owner.
void leave_to_an_heir(ReentrantLock& lock) {
  std::thread([&] { lock.lock(); }).join();
}

// Claim: an heir reads what the one before it wrote, and so do those after it.
void an_heir_reads_what_was_written() {
  ReentrantLock lock;
  leave_to_an_heir(lock);
  int data = 0;
  Signal given_up;
  Signal mended;
  Signal done;
  std::thread first([&] {
    expect(lock.acquire() == AcquireResult::inherited, "the lock to be inherited");
    data = 1;
    lock.release();  // unrepaired
    given_up.give();
    done.await();
  });
  std::thread second([&] {
    given_up.await();
    expect(lock.acquire() == AcquireResult::inherited, "the lock to be inherited");
    expect(data == 1, "the heir to read what was written");
    data = 2;
    lock.repaired();
    lock.release();
    mended.give();
    done.await();
  });
  mended.await();
  expect(lock.acquire() == AcquireResult::acquired, "the lock to be repaired");
  expect(data == 2, "the owner after the heir to read what it wrote");
  lock.release();
  done.give();
  first.join();
  second.join();
}

// Claim: an heir reads what a thread wrote that ended with the lock in its hands.
void an_heir_reads_what_an_ended_thread_wrote() {
  ReentrantLock lock;
  int data = 0;
  Signal owned;
  std::thread ending([&] {
    lock.lock();
    data = 1;
    owned.give();
  });
  owned.await();
  expect(lock.acquire() == AcquireResult::inherited, "the lock to be inherited");
  expect(data == 1, "the heir to read what was written");
  data = 2;
  lock.repaired();
  lock.release();
  ending.join();
}

// One counter under a lock.
class Counter : public heirlock::Lockable {
 public:
  explicit Counter(ReentrantLock& lock) : Lockable(lock) {}

  void in_turn() {
    locked([&] { ++value_; });
    const std::lock_guard<Lockable> guard(*this);
    locked([&] { ++value_; });
  }
  void timed() {
    while (!try_lock_until(std::chrono::system_clock::now() + 50us)) continue;
    ++value_;
    unlock();
  }
  /// Ends a thread as the owner, so that whoever is next inherits.
  void by_an_owner_that_dies() {
    std::thread([this] {
      lock();
      ++value_of_dying_;
    }).join();
  }

  int value() {
    return locked([&] { return value_; });
  }
  int value_of_dying() {
    return locked([&] { return value_of_dying_; });
  }

 private:
  void recover() override {}

  int value_ = 0;
  int value_of_dying_ = 0;
};

// Claim: the lock never lets two threads into one section.
void many_threads_count() {
  constexpr int threads = 6;
  constexpr int rounds = 10000;
  constexpr int rounds_of_a_death = 100;
  ReentrantLock lock;
  Counter counter(lock);
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i)
    all.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        counter.in_turn();
        counter.timed();
        if (round % rounds_of_a_death == 0) counter.by_an_owner_that_dies();
      }
    });
  for (std::thread& thread : all) thread.join();
  expect(counter.value() == threads * rounds * 3, "every count to be there");
  expect(counter.value_of_dying() == threads * rounds / rounds_of_a_death,
         "every count before a death to be there");
}

}  // namespace

int main() {
  a_woken_sleeper_reads_what_was_written();
  a_release_by_the_kernel_publishes_what_was_written();
  an_heir_reads_what_was_written();
  an_heir_reads_what_an_ended_thread_wrote();
  many_threads_count();
  std::puts("nothing lost");
}
