// Brings locks into each state, and says at each what gdb is to print.
#include <heirlock/heirlock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <heirlock/lockable.hpp>
#include <new>
#include <string>

using heirlock::AcquireResult;
using heirlock::ReentrantLock;

// What gdb without -g can find.
extern "C" {
const void* shown = nullptr;
const char* expected_of_it = nullptr;
__attribute__((noinline)) void stop() {
  asm volatile("" : : : "memory");
}
}

// gdb with -g stops here.
template <class Lock>
__attribute__((noinline)) void show(const Lock& lock, const char* expected) {
  asm volatile("" : : "r"(&lock), "r"(expected) : "memory");
  shown = &lock;
  expected_of_it = expected;
  stop();
}

struct Counter : heirlock::Lockable {
  using Lockable::Lockable;
} a_counter;

namespace {

void show_held(const ReentrantLock& lock, const std::string& rest) {
  show(lock, ("held by thread " + std::to_string(gettid()) + ", " + rest).c_str());
}

void expect(bool condition) {
  if (!condition) std::abort();
}

pid_t in_child(void (*act)(ReentrantLock&), ReentrantLock& lock) {
  const pid_t child = fork();
  if (child == 0) {
    act(lock);
    _exit(0);
  }
  return child;
}

void die_as_the_owner(ReentrantLock& lock) {
  waitpid(in_child([](ReentrantLock& held) { expect(held.acquire() == AcquireResult::acquired); }, lock),
          nullptr, 0);
}

void await_waiters_bit(const ReentrantLock& lock) {
  const auto& word = reinterpret_cast<const std::atomic<std::uint32_t>&>(lock);
  while ((word.load() & 0x80000000) == 0) usleep(100);
}

}  // namespace

int main() {
  void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  expect(memory != MAP_FAILED);
  ReentrantLock& lock = *new (memory) ReentrantLock;
  show(lock, "free");

  lock.lock();
  show_held(lock, "depth 1");
  lock.lock();
  lock.lock();
  show_held(lock, "depth 3");
  lock.unlock();
  lock.unlock();

  const pid_t waiter = in_child([](ReentrantLock& wanted) { wanted.lock(), wanted.unlock(); }, lock);
  await_waiters_bit(lock);
  show_held(lock, "depth 1, perhaps waiters");
  lock.unlock();
  waitpid(waiter, nullptr, 0);
  show(lock, "free, perhaps waiters");

  auto& in_c = *new (&lock + 2) heirlock_lock{};
  expect(heirlock_acquire(&in_c) == heirlock_acquired);
  show(in_c, ("held by thread " + std::to_string(gettid()) + ", depth 1").c_str());

  a_counter.lock();
  show(static_cast<const heirlock::Lockable&>(a_counter),
       ("held by thread " + std::to_string(gettid()) + ", depth 1").c_str());

  ReentrantLock& another = *new (&lock + 1) ReentrantLock;
  die_as_the_owner(another);
  show(another, "free, to be inherited");
  expect(another.acquire() == AcquireResult::inherited);
  show_held(another, "depth 1, to be repaired");
  another.repaired();
  show_held(another, "depth 1");
  another.release();
}
