// Shared<T> without a name: one T for a process and the children it forks.
#include "heirlock/shared.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "heirlock/reentrant_lock.hpp"
#include "support/mapping.hpp"
#include "support/party.hpp"
#include "support/refusal.hpp"
#include "support/shared_memory.hpp"

using heirlock::is_shareable;
using heirlock::Shared;
using support::As;
using support::is_mapped;
using support::Party;

namespace {

struct Aggregate {
  int number;
  double fraction;
};

class WithConstructor {
 public:
  WithConstructor(int first, int second) : sum_(first + second) {}
  int sum() const { return sum_; }

 private:
  int sum_;
};

// Spec: shared.anonymous
TEST(Shared, holds_an_object_made_from_its_arguments) {
  EXPECT_EQ(Shared<WithConstructor>(3, 4)->sum(), 7);
  const Shared<Aggregate> of_members(3, 0.5);
  EXPECT_EQ(of_members->number, 3);
  EXPECT_EQ(of_members->fraction, 0.5);
  Aggregate original{3, 0.5};
  const Shared<Aggregate> copy(original);
  original.number = 4;
  EXPECT_EQ(copy->number, 3);
  const Shared<Aggregate> zeros;
  EXPECT_EQ(zeros->number, 0);
  EXPECT_EQ(zeros->fraction, 0);
}

// Spec: shared.anonymous
TEST(Shared, hands_its_arguments_on_as_they_are) {
  struct FromPointer {
    FromPointer(std::unique_ptr<int> source, int& counter) : number(*source) { ++counter; }
    int number;
  };
  int counter = 0;
  EXPECT_EQ(Shared<FromPointer>(std::make_unique<int>(5), counter)->number, 5);
  EXPECT_EQ(counter, 1);
}

// Spec: shared.anonymous
TEST(Shared, is_shared_with_descendants_alone) {
  const Shared<std::atomic<int>> number(0);
  const Shared<std::atomic<int>> another(2);
  Party(As::process, [&] {
    Party(As::process, [&] { ++*number; }).join();
    ++*number;
  }).join();
  Party(As::process, [&] { EXPECT_EQ((*number)++, 2); }).join();
  EXPECT_EQ(*number, 3);
  EXPECT_EQ(*another, 2);
}

// Spec: shared.unmapped
TEST(Shared, lives_on_with_each_processs_handle) {
  std::optional<Shared<int>> number(1);
  Party(As::process, [&] { number.reset(); }).join();
  EXPECT_EQ(**number, 1);
  support::Gate destroyed;
  Party child(As::process, [&] {
    destroyed.wait();
    EXPECT_EQ(**number, 1);
  });
  number.reset();
  destroyed.open();
}

// --- Handles

// Spec: shared.unmapped
TEST(SharedHandle, ends_all_of_its_mapping) {
  using Large = std::array<char, 16 << 20>;
  std::optional<Shared<Large>> large(std::in_place);
  const char *const first = (*large)->data(), *const last = &(*large)->back();
  (*large)->back() = 'x';
  EXPECT_TRUE(is_mapped(last));
  large.reset();
  EXPECT_FALSE(is_mapped(first));
  EXPECT_FALSE(is_mapped(last));
}

// Spec: shared.unmapped
TEST(SharedHandle, whose_object_throws_leaves_no_mapping) {
  struct Failing {
    explicit Failing(const void*& address) {
      address = this;
      throw std::domain_error("mine");
    }
  };
  const void* address = nullptr;
  EXPECT_THROW(Shared<Failing> failing(address), std::domain_error);
  ASSERT_NE(address, nullptr);
  EXPECT_FALSE(is_mapped(address));
}

// Spec: shared.handle, shared.unmapped
TEST(SharedHandle, is_moved_with_its_object_and_never_copied) {
  Shared<int> number(1);
  const int* const address = number.get();
  Shared<int> moved(std::move(number));
  EXPECT_EQ(moved.get(), address);
  EXPECT_EQ(number.get(), nullptr);

  Shared<int> target(2);
  const int* const old = target.get();
  target = std::move(moved);
  EXPECT_EQ(target.get(), address);
  EXPECT_EQ(moved.get(), nullptr);
  EXPECT_FALSE(is_mapped(old));

  Shared<int>& same = target;
  target = std::move(same);
  ASSERT_EQ(target.get(), address);
  EXPECT_EQ(*target, 1);
  number = Shared<int>(3);
  EXPECT_EQ(*number, 3) << "it had been moved from";
  static_assert(!std::is_copy_constructible_v<Shared<int>> && !std::is_copy_assignable_v<Shared<int>>);
  static_assert(std::is_nothrow_move_constructible_v<Shared<int>>);
  static_assert(std::is_nothrow_move_assignable_v<Shared<int>>);
}

// Like a pointer: what it leads to is no part of it.
// Spec: shared.const
TEST(SharedHandle, that_is_const_leads_to_an_unconst_object) {
  using Const = const Shared<int>;
  static_assert(std::is_same_v<decltype(*std::declval<Const&>()), int&>);
  static_assert(std::is_same_v<decltype(std::declval<Const&>().get()), int*>);
  static_assert(std::is_same_v<decltype(std::declval<Const&>().operator->()), int*>);
  const Shared<const int> number(3);
  static_assert(std::is_same_v<decltype(*number), const int&>);
  EXPECT_EQ(*number, 3);
}

// --- Size and alignment

template <std::size_t alignment>
struct alignas(alignment) Aligned {
  std::array<char, 3 * alignment> bytes{};
};

template <std::size_t alignment>
std::uintptr_t misalignment() {
  const Shared<Aligned<alignment>> shared;
  shared->bytes.back() = 'x';
  return reinterpret_cast<std::uintptr_t>(shared.get()) % alignment;
}

// Spec: shared.anonymous
TEST(Shared, aligns_an_over_aligned_object) {
  EXPECT_EQ(misalignment<64>(), 0U);
  EXPECT_EQ(misalignment<256>(), 0U);
  EXPECT_EQ(misalignment<4096>(), 0U);
}

// Spec: lock.error.message
TEST(Shared, larger_than_memory_is_refused_with_its_size) {
  struct Vast {
    Vast() {}
    char bytes[std::size_t{1} << 56];
  };
  const auto refusal = support::refusal_of([] { Shared<Vast> vast; });
  EXPECT_EQ(refusal.code, std::errc::not_enough_memory);
  EXPECT_TRUE(support::says(refusal.message, std::to_string(sizeof(Vast)), "bytes of shared memory"));
}

// --- What may be shared

struct WithDestructor {
  ~WithDestructor() {}
};
struct WithVirtualMethod {
  virtual void method() {}
};
struct WithTwoKindsOfAccess {
  int open;

 private:
  [[maybe_unused]] int closed_;
};
struct Vouched {
  ~Vouched() {}
};

}  // namespace

template <>
struct heirlock::is_shareable<Vouched> : std::true_type {};

namespace {

// Spec: shared.shareable
TEST(Shareable, are_trivial_types_and_vouched_ones) {
  static_assert(is_shareable<int>::value);
  static_assert(is_shareable<Aggregate>::value);
  static_assert(is_shareable<WithConstructor>::value);
  static_assert(is_shareable<std::atomic<int>>::value);
  static_assert(is_shareable<std::array<Aggregate, 3>>::value);
  static_assert(is_shareable<heirlock::ReentrantLock>::value);
  static_assert(!is_shareable<WithDestructor>::value);
  static_assert(!is_shareable<std::string>::value);
  static_assert(!is_shareable<WithVirtualMethod>::value);
  static_assert(!is_shareable<WithTwoKindsOfAccess>::value);
  EXPECT_NE(Shared<Vouched>().get(), nullptr);
}

}  // namespace
