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

// --- What it holds
// --------------------------------------------------------------------------------------------

// Spec: shared.anonymous
TEST(Shared, holds_an_object_made_from_its_arguments) {
  EXPECT_EQ(Shared<WithConstructor>(3, 4)->sum(), 7);
}

// Spec: shared.anonymous
TEST(Shared, holds_an_aggregate_made_from_its_members) {
  const Shared<Aggregate> shared(3, 0.5);
  EXPECT_EQ(shared->number, 3);
  EXPECT_EQ(shared->fraction, 0.5);
}

// Spec: shared.anonymous
TEST(Shared, holds_zeros_where_no_arguments_are_given) {
  const Shared<int> number;
  EXPECT_EQ(*number, 0);
  const Shared<Aggregate> aggregate;
  EXPECT_EQ(aggregate->number, 0);
  EXPECT_EQ(aggregate->fraction, 0);
}

// Spec: shared.anonymous
TEST(Shared, holds_a_copy_of_an_object) {
  Aggregate original{3, 0.5};
  const Shared<Aggregate> copy(original);
  original.number = 4;
  EXPECT_EQ(copy->number, 3);
}

// Spec: shared.anonymous
TEST(Shared, hands_on_arguments_that_can_only_be_moved) {
  struct FromPointer {
    explicit FromPointer(std::unique_ptr<int> source) : number(*source) {}
    int number;
  };
  EXPECT_EQ(Shared<FromPointer>(std::make_unique<int>(5))->number, 5);
}

// Spec: shared.anonymous
TEST(Shared, hands_on_references) {
  struct Announced {
    explicit Announced(int& counter) { ++counter; }
  };
  int counter = 0;
  const Shared<Announced> shared(counter);
  EXPECT_EQ(counter, 1);
}

// --- Who shares it
// --------------------------------------------------------------------------------------------

// Spec: shared.anonymous
TEST(Shared, is_shared_with_a_child) {
  const Shared<int> number(1);
  Party(As::process, [&] {
    EXPECT_EQ(*number, 1);
    *number = 2;
  }).join();
  EXPECT_EQ(*number, 2);
}

// Spec: shared.anonymous
TEST(Shared, is_shared_with_siblings_and_grandchildren) {
  const Shared<std::atomic<int>> number(0);
  Party(As::process, [&] {
    Party(As::process, [&] { ++*number; }).join();
    ++*number;
  }).join();
  Party(As::process, [&] { EXPECT_EQ((*number)++, 2); }).join();
  EXPECT_EQ(*number, 3);
}

// Spec: shared.anonymous
TEST(Shared, is_not_shared_with_another_handle) {
  const Shared<int> one(1);
  const Shared<int> two(2);
  *one = 3;
  EXPECT_EQ(*two, 2);
}

// Spec: shared.unmapped
TEST(Shared, survives_in_its_parent_when_a_child_destroys_its_copy_of_the_handle) {
  std::optional<Shared<int>> number(1);
  Party(As::process, [&] { number.reset(); }).join();
  EXPECT_EQ(**number, 1);
}

// Spec: shared.unmapped
TEST(Shared, survives_in_a_child_when_its_parent_destroys_the_handle) {
  std::optional<Shared<int>> number(1);
  support::Gate destroyed;
  Party child(As::process, [&] {
    destroyed.wait();
    EXPECT_EQ(**number, 1);
  });
  number.reset();
  destroyed.open();
  child.join();
}

// --- Handles
// --------------------------------------------------------------------------------------------------

// Spec: shared.unmapped
TEST(SharedHandle, ends_its_mapping) {
  std::optional<Shared<int>> number(1);
  const int* const address = number->get();
  EXPECT_TRUE(is_mapped(address));
  number.reset();
  EXPECT_FALSE(is_mapped(address));
}

// Spec: shared.unmapped
TEST(SharedHandle, ends_all_pages_of_its_mapping) {
  using Large = std::array<char, 16 << 20>;
  std::optional<Shared<Large>> large(std::in_place);
  const char* const last = &(*large)->back();
  *const_cast<char*>(last) = 'x';
  EXPECT_TRUE(is_mapped(last));
  large.reset();
  EXPECT_FALSE(is_mapped(last));
}

// Spec: shared.unmapped
TEST(SharedHandle, whose_object_throws_in_its_constructor_leaves_no_mapping) {
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

// Spec: shared.handle
TEST(SharedHandle, keeps_the_object_where_it_is_when_moved) {
  Shared<int> number(1);
  const int* const address = number.get();
  const Shared<int> moved(std::move(number));
  EXPECT_EQ(moved.get(), address);
  EXPECT_EQ(*moved, 1);
}

// Spec: shared.handle
TEST(SharedHandle, that_was_moved_from_leads_nowhere) {
  Shared<int> number(1);
  const Shared<int> moved(std::move(number));
  EXPECT_EQ(number.get(), nullptr);
}

// Spec: shared.handle
TEST(SharedHandle, that_is_assigned_to_takes_the_others_object) {
  Shared<int> source(1);
  Shared<int> target(2);
  const int* const address = source.get();
  target = std::move(source);
  EXPECT_EQ(target.get(), address);
  EXPECT_EQ(source.get(), nullptr);
}

// Spec: shared.unmapped
TEST(SharedHandle, that_is_assigned_to_ends_its_own_mapping) {
  Shared<int> source(1);
  Shared<int> target(2);
  const int* const old = target.get();
  target = std::move(source);
  EXPECT_FALSE(is_mapped(old));
}

// Spec: shared.handle
TEST(SharedHandle, survives_assignment_to_itself) {
  Shared<int> number(1);
  Shared<int>& same = number;
  number = std::move(same);
  ASSERT_NE(number.get(), nullptr);
  EXPECT_EQ(*number, 1);
}

// Spec: shared.handle
TEST(SharedHandle, that_was_moved_from_can_be_assigned_to) {
  Shared<int> number(1);
  const Shared<int> moved(std::move(number));
  number = Shared<int>(2);
  EXPECT_EQ(*number, 2);
  EXPECT_EQ(*moved, 1);
}

// Two handles of one mapping would unmap it twice.
// Spec: shared.handle
TEST(SharedHandle, cannot_be_copied) {
  static_assert(!std::is_copy_constructible_v<Shared<int>> && !std::is_copy_assignable_v<Shared<int>>);
  static_assert(std::is_nothrow_move_constructible_v<Shared<int>>);
  static_assert(std::is_nothrow_move_assignable_v<Shared<int>>);
}

// Like a pointer: what it leads to is no part of it.
// Spec: shared.const
TEST(SharedHandle, that_is_const_leads_to_an_object_that_is_not) {
  using Const = const Shared<int>;
  static_assert(std::is_same_v<decltype(*std::declval<Const&>()), int&>);
  static_assert(std::is_same_v<decltype(std::declval<Const&>().get()), int*>);
  static_assert(std::is_same_v<decltype(std::declval<Const&>().operator->()), int*>);
}

// Spec: shared.const
TEST(SharedHandle, of_a_const_object_does_not_let_it_be_changed) {
  const Shared<const int> number(3);
  static_assert(std::is_same_v<decltype(*number), const int&>);
  EXPECT_EQ(*number, 3);
}

// --- Size and alignment
// ---------------------------------------------------------------------------------------

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

// Spec: shared.anonymous
TEST(Shared, shares_a_large_object_to_its_last_byte) {
  const Shared<std::array<char, 16 << 20>> large;
  Party(As::process, [&] { large->back() = 'x'; }).join();
  EXPECT_EQ(large->back(), 'x');
}

// Spec: lock.error.message
TEST(Shared, that_is_larger_than_memory_is_refused_with_its_size) {
  struct Vast {
    Vast() {}
    char bytes[std::size_t{1} << 56];
  };
  const auto refusal = support::refusal_of([] { Shared<Vast> vast; });
  EXPECT_EQ(refusal.code, std::errc::not_enough_memory);
  EXPECT_TRUE(support::says(refusal.message, std::to_string(sizeof(Vast)), "bytes of shared memory"));
}

// --- What may be shared
// ---------------------------------------------------------------------------------------

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
TEST(Shareable, are_types_of_standard_layout_that_need_no_destruction) {
  static_assert(is_shareable<int>::value);
  static_assert(is_shareable<Aggregate>::value);
  static_assert(is_shareable<WithConstructor>::value);
  static_assert(is_shareable<std::atomic<int>>::value);
  static_assert(is_shareable<std::array<Aggregate, 3>>::value);
  static_assert(is_shareable<heirlock::ReentrantLock>::value);
}

// Spec: shared.shareable
TEST(Shareable, are_no_types_that_must_be_destroyed) {
  static_assert(!is_shareable<WithDestructor>::value);
  static_assert(!is_shareable<std::string>::value);
}

// Spec: shared.shareable
TEST(Shareable, are_no_types_whose_layout_is_the_compilers) {
  static_assert(!is_shareable<WithVirtualMethod>::value);
  static_assert(!is_shareable<WithTwoKindsOfAccess>::value);
}

// Spec: shared.shareable
TEST(Shareable, are_types_that_the_user_vouches_for) {
  const Shared<Vouched> shared;
  EXPECT_NE(shared.get(), nullptr);
}

}  // namespace
