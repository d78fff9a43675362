// No operation on a lock allocates memory, and no handle of a name does. This program counts what its threads
// allocate.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "heirlock/shared.hpp"
#include "support/between_parties.hpp"
#include "support/segment_name.hpp"

namespace {

thread_local volatile std::size_t allocations = 0;  // or compilers would presume that new leaves it alone

}  // namespace

// In place of the standard library's, for the whole program. Not inline: g++ would warn of a free() for a
// new.
__attribute__((noinline)) void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocations = allocations + 1;
  return std::malloc(size);
}
__attribute__((noinline)) void* operator new(std::size_t size) {
  if (void* const memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOCATOR_OF_A_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOCATOR_OF_A_SANITIZER 1
#endif
#endif

#if defined(__GLIBC__) && !defined(ALLOCATOR_OF_A_SANITIZER)
// And in place of the C library's, which keeps its own under these names.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);

void* malloc(std::size_t size) {
  allocations = allocations + 1;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  allocations = allocations + 1;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  allocations = allocations + 1;
  return __libc_realloc(memory, size);
}
}
#define COUNTS_MALLOC 1
#else
#define COUNTS_MALLOC 0
#endif

using heirlock::ReentrantLock;
using heirlock::Shared;
using std::chrono::milliseconds;
using support::As;
using support::InSharedMemory;
using support::Party;

namespace {

// Each test runs in a process of its own, forked from one that has used no lock: its first call counts, too.
class Allocations : public testing::TestWithParam<As> {
 protected:
  void in_a_new_process(std::function<void()> body) { Party(As::process, std::move(body)).join(); }
  Party other(std::function<void()> body) const { return Party(GetParam(), std::move(body)); }

  InSharedMemory<ReentrantLock> lock;
};
INSTANTIATE_TEST_SUITE_P(As, Allocations, support::each_kind_of_party, support::kind_name);

template <class Operation>
std::size_t allocations_of(Operation operation) {
  const std::size_t before = allocations;
  operation();
  return allocations - before;
}

// Spec: lock.error.allocation
TEST(Count, sees_what_operators_and_libc_allocate) {
  int* volatile kept = nullptr;  // or the compiler would do without
  EXPECT_GE(allocations_of([&] { kept = new int; }), 1U);
  delete kept;
  void* volatile plain = nullptr;
  EXPECT_EQ(allocations_of([&] { plain = std::malloc(8); }), std::size_t{COUNTS_MALLOC});
  std::free(plain);
}

// The first acquire of a process or thread among them.
// Spec: lock.error.allocation
TEST_P(Allocations, acquires_and_releases_make_none) {
  in_a_new_process([&] {
    other([&] {
      EXPECT_EQ(allocations_of([&] {
                  static_cast<void>(lock->acquire());
                  static_cast<void>(lock->try_acquire());
                  static_cast<void>(lock->acquire_for(milliseconds(1)));
                  lock->repaired();
                  lock->release();
                  lock->release();
                  lock->release();
                }),
                0U);
      EXPECT_FALSE(lock->is_owned());
    }).join();
  });
}

// Spec: lock.error.allocation
TEST_P(Allocations, waiting_in_vain_makes_none) {
  in_a_new_process([&] {
    static_cast<void>(lock->acquire());
    other([&] {
      EXPECT_EQ(allocations_of([&] {
                  static_cast<void>(lock->try_acquire());
                  static_cast<void>(lock->acquire_for(milliseconds(70)));  // more than one sleep
                }),
                0U);
    }).join();
    lock->release();
  });
}

// Spec: lock.error.allocation
TEST_P(Allocations, handing_the_lock_to_a_sleeper_makes_none) {
  in_a_new_process([&] {
    static_cast<void>(lock->acquire());
    Party waiter = other([&] {
      EXPECT_EQ(allocations_of([&] {
                  static_cast<void>(lock->acquire());
                  lock->release();
                }),
                0U);
    });
    waiter.wait_until_asleep_on(&*lock);
    EXPECT_EQ(allocations_of([&] { lock->release(); }), 0U);
  });
}

// A child that _Fork made may find the allocator locked for ever by a thread of its parent's.
// Spec: lock.error.allocation, lock.owner.child
TEST_P(Allocations, handles_of_names_make_none) {
  const support::SegmentName name;
  in_a_new_process([&] {
    other([&] {
      EXPECT_EQ(allocations_of([&] {
                  const auto created = Shared<ReentrantLock>::open_or_create(name);
                  const auto opened = Shared<ReentrantLock>::open(name);
                }),
                0U);
    }).join();
  });
}

}  // namespace
