#include "heirlock/lockable.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/between_parties.hpp"
#include "support/party.hpp"
#include "unit/guarded.hpp"

using heirlock::AssertionError;
using heirlock::Lockable;
using heirlock::ReentrantLock;
using support::As;
using support::Gate;
using support::Party;
using namespace std::chrono_literals;

namespace {

using Seconds = std::chrono::duration<double>;
constexpr Seconds not_a_number{std::numeric_limits<double>::quiet_NaN()};

// One object, and other parties as threads and as forked processes.
class LockableBetweenParties : public testing::TestWithParam<As> {
 protected:
  Party other(std::function<void()> body) const { return Party(GetParam(), std::move(body)); }

  Guarded object;
};
INSTANTIATE_TEST_SUITE_P(As, LockableBetweenParties, support::each_kind_of_party, support::kind_name);

// --- acquire()

// Spec: lockable.acquire, lockable.timeout, lock.timeout.nonpositive, lock.reentry.result
TEST(Lockable, each_form_of_acquire_takes_and_reenters) {
  const std::function<bool(Guarded&)> forms[] = {
      [](Guarded& object) { return object.acquire(); },
      [](Guarded& object) { return object.acquire(false); },
      [](Guarded& object) { return object.acquire(false, not_a_number); },
      [](Guarded& object) { return object.acquire(false, std::chrono::hours::min()); },
      [](Guarded& object) { return object.acquire(true, 1h); },
      [](Guarded& object) { return object.acquire(true, -1h); },
      [](Guarded& object) { return object.acquire(true, 0s); },
      [](Guarded& object) { return object.acquire(true, std::nullopt); },
      [](Guarded& object) { return object.try_lock(); },
      [](Guarded& object) { return object.try_lock_for(0s); },
      [](Guarded& object) { return object.try_lock_until(std::chrono::steady_clock::now()); },
      [](Guarded& object) { return object.lock(), true; },
  };
  for (const auto& form : forms) {
    Guarded object;
    for (std::uint32_t depth = 1; depth <= 3; ++depth) {
      EXPECT_TRUE(form(object));
      EXPECT_EQ(object.mutex().depth(), depth);
    }
    for (int i = 0; i < 3; ++i) object.release();
    EXPECT_EQ(object.mutex().owner(), 0);
  }
}

// Spec: lockable.acquire, lockable.timeout, lock.timeout.huge
TEST_P(LockableBetweenParties, each_form_of_acquire_waits_for_the_release) {
  const std::function<bool()> forms[] = {
      [&] { return object.acquire(); },
      [&] { return object.acquire(true, 1h); },
      [&] { return object.acquire(true, std::nullopt); },
      [&] { return object.acquire(true, std::optional<std::chrono::milliseconds>()); },
      [&] { return object.acquire(true, std::chrono::hours::max()); },
      [&] { return object.try_lock_until(std::chrono::system_clock::now() + 1h); },
  };
  for (const auto& form : forms) {
    object.acquire();
    Party waiter = other([&] {
      EXPECT_TRUE(form());
      object.release();
    });
    waiter.wait_until_asleep_on(&object.mutex());
    object.release();
    waiter.join();
  }
}

// A timeout is ignored unless blocking.
// Spec: lockable.acquire, lockable.timeout, lock.timeout.nonpositive
TEST_P(LockableBetweenParties, acquire_of_a_busy_lock_returns_false) {
  object.acquire();
  other([&] {
    EXPECT_FALSE(object.acquire(false));
    EXPECT_FALSE(object.acquire(false, not_a_number));
    EXPECT_FALSE(object.acquire(false, std::chrono::hours::max()));
    EXPECT_FALSE(object.acquire(false, std::optional(not_a_number)));
    EXPECT_FALSE(object.acquire(false, std::nullopt));
    EXPECT_FALSE(object.acquire(true, std::chrono::hours::min()));
    EXPECT_FALSE(object.acquire(true, Seconds(-std::numeric_limits<double>::infinity())));
    EXPECT_FALSE(object.acquire(true, std::optional(1ms)));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(object.acquire(true, 20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
    EXPECT_FALSE(object.mutex().is_owned());
  }).join();
  object.release();
}

// Spec: lock.timeout.nan
TEST(Lockable, a_timeout_that_is_not_a_number_is_refused) {
  Guarded object;
  object.acquire();
  EXPECT_THROW(object.acquire(true, not_a_number), std::invalid_argument);
  EXPECT_THROW(object.acquire(true, std::optional(not_a_number)), std::invalid_argument);
  EXPECT_THROW(object.try_lock_for(not_a_number), std::invalid_argument);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// --- release()

// Spec: lockable.release
TEST_P(LockableBetweenParties, release_by_a_stranger_throws_and_changes_nothing) {
  Gate held;
  const auto expect_refusal = [&] {
    held.wait();
    EXPECT_THROW(object.release(), AssertionError);
    EXPECT_THROW(object.unlock(), AssertionError);
  };
  EXPECT_THROW(object.release(), AssertionError) << "it is free";
  Party stranger = other(expect_refusal);  // not forked from the owner while it held the lock
  object.acquire();
  object.acquire();
  Party its_child = other(expect_refusal);
  held.open(2);
  stranger.join();
  its_child.join();
  EXPECT_EQ(object.mutex().depth(), 2U);
  object.release();
  object.release();
  EXPECT_THROW(object.release(), AssertionError) << "it is free again";
}

// --- locked(f)

// Spec: lockable.locked
TEST_P(LockableBetweenParties, locked_runs_the_function_while_holding_the_lock) {
  object.locked([&] {
    EXPECT_EQ(object.mutex().depth(), 1U);
    other([&] { EXPECT_FALSE(object.acquire(false)); }).join();
  });
  EXPECT_EQ(object.mutex().owner(), 0);
  std::as_const(object).locked([&] { EXPECT_TRUE(object.mutex().is_owned()); });
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.locked
TEST(Lockable, locked_returns_what_the_function_returns) {
  Guarded object;
  const auto value = [] { return std::string("answer"); };
  static_assert(std::is_same_v<decltype(object.locked(value)), std::string>);
  EXPECT_EQ(object.locked(value), "answer");
  EXPECT_EQ(*object.locked([] { return std::make_unique<int>(7); }), 7);
  int number = 0;
  const auto reference = [&]() -> int& { return number; };
  static_assert(std::is_same_v<decltype(object.locked(reference)), int&>);
  EXPECT_EQ(&object.locked(reference), &number);
  const auto nothing = [&] { ++number; };
  static_assert(std::is_void_v<decltype(object.locked(nothing))>);
  object.locked(nothing);
  EXPECT_EQ(number, 1);
}

// Spec: lockable.locked
TEST(Lockable, locked_hands_a_temporary_function_on_as_one) {
  struct OnlyAsTemporary {
    int operator()() && { return 1; }
    int operator()() & = delete;
  };
  Guarded object;
  EXPECT_EQ(object.locked(OnlyAsTemporary()), 1);
}

class Recursive : public Lockable {
 public:
  int sum_to(int n) {
    return locked([&] { return n == 0 ? 0 : n + sum_to(n - 1); });
  }
};

class Player : public Lockable {
 public:
  int rally(int strokes) {
    return locked([&] { return strokes == 0 ? 0 : 1 + opponent->rally(strokes - 1); });
  }
  Player* opponent = nullptr;
};

// Spec: lockable.locked
TEST(Lockable, locked_methods_call_each_other) {
  Recursive object;
  EXPECT_EQ(object.sum_to(1000), 500500);
  EXPECT_EQ(object.mutex().owner(), 0);
  Player one;
  Player two;
  one.opponent = &two;
  two.opponent = &one;
  EXPECT_EQ(one.rally(9), 9);
  EXPECT_EQ(one.mutex().owner(), 0);
  EXPECT_EQ(two.mutex().owner(), 0);
}

// It is no death: nobody recovers after it.
// Spec: lockable.locked.exception, lock.inherit.flag
TEST(Lockable, an_exception_gives_back_each_level_it_passes) {
  Guarded object;
  object.locked([&] {
    EXPECT_THROW(object.locked([&] { object.locked([] { throw std::domain_error("mine"); }); }),
                 std::domain_error);
    EXPECT_EQ(object.mutex().depth(), 1U);
  });
  EXPECT_EQ(object.mutex().owner(), 0);
  object.acquire();
  EXPECT_EQ(object.recoveries(), 0);
  object.release();
}

// Spec: lockable.release, lockable.locked.exception
TEST(Lockable, locked_reports_that_the_lock_was_given_up) {
  Guarded object;
  EXPECT_THROW(object.locked([&] { object.release(); }), AssertionError);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_THROW(object.locked([&] {
    object.release();
    throw std::domain_error("mine");
  }),
               std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// The destructor of a local object runs locked methods while an exception passes: it is not theirs.
// Spec: lockable.locked
TEST(Lockable, a_locked_method_releases_while_an_exception_passes) {
  struct WorksAtItsEnd {
    ~WorksAtItsEnd() { object.increment(); }
    Guarded& object;
  };
  Guarded object;
  const auto fail_after_work = [&] {
    WorksAtItsEnd worker{object};
    throw std::domain_error("mine");
  };
  EXPECT_THROW(fail_after_work(), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_EQ(object.value(), 1);
}

// Spec: lock.reentry.depth
TEST(Lockable, what_the_function_acquired_besides_stays_acquired) {
  Guarded object;
  object.locked([&] { object.acquire(); });
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
}

// --- locked<&C::method>
// ----------------------------------------------------------------------------------------

class Base : public Lockable {
 public:
  std::uint32_t depth_in_base_method() { return mutex().depth(); }
};

class Decorated : public Base {
 public:
  std::uint32_t depth_in_method() { return mutex().depth(); }
  std::uint32_t depth_in_const_method() const { return const_cast<Decorated*>(this)->mutex().depth(); }
  std::uint32_t depth_in_noexcept_method() noexcept { return mutex().depth(); }
  std::uint32_t depth_in_overload(int) { return mutex().depth(); }
  std::uint32_t depth_in_overload(const char*) { return 100 + mutex().depth(); }
  std::uint32_t depth_in_nested_call() { return heirlock::locked<&Decorated::depth_in_method>(this); }
  int& data() { return data_; }
  const int& data() const { return data_; }
  void double_it(int& number) { number *= 2; }
  std::unique_ptr<int> keep(std::unique_ptr<int> number) { return number; }
  void fail() { throw std::domain_error("mine"); }

 private:
  int data_ = 0;
};

// Spec: lockable.decorator
TEST(LockedMethod, locks_whatever_leads_to_an_object) {
  struct Handle {
    Decorated& operator*() const { return object; }
    Decorated& object;
  };
  using heirlock::locked;
  Decorated object;
  const Decorated unchanging;
  std::optional<Decorated> inside(std::in_place);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(object), 1U);
  EXPECT_EQ(object.mutex().owner(), 0);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(&object), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(Decorated()), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(Handle{object}), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(inside), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_method>(std::make_unique<Decorated>()), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_const_method>(unchanging), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_const_method>(&unchanging), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_const_method>(std::make_shared<const Decorated>()), 1U);
}

// Spec: lockable.decorator, lockable.locked
TEST(LockedMethod, may_be_noexcept_overloaded_inherited_or_nested) {
  using WithInt = std::uint32_t (Decorated::*)(int);
  using WithText = std::uint32_t (Decorated::*)(const char*);
  using heirlock::locked;
  Decorated object;
  EXPECT_EQ(locked<&Decorated::depth_in_noexcept_method>(object), 1U);
  EXPECT_EQ(locked<static_cast<WithInt>(&Decorated::depth_in_overload)>(object, 0), 1U);
  EXPECT_EQ(locked<static_cast<WithText>(&Decorated::depth_in_overload)>(object, "text"), 101U);
  EXPECT_EQ(locked<&Base::depth_in_base_method>(object), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_base_method>(&object), 1U);
  EXPECT_EQ(locked<&Decorated::depth_in_nested_call>(object), 2U);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.decorator
TEST(LockedMethod, forwards_arguments_and_result) {
  using Changing = int& (Decorated::*)();
  using Unchanging = const int& (Decorated::*)() const;
  Decorated object;
  int number = 21;
  heirlock::locked<&Decorated::double_it>(object, number);
  EXPECT_EQ(number, 42);
  auto moved = std::make_unique<int>(7);
  const int* const address = moved.get();
  EXPECT_EQ(heirlock::locked<&Decorated::keep>(object, std::move(moved)).get(), address);
  decltype(auto) data = heirlock::locked<static_cast<Changing>(&Decorated::data)>(object);
  decltype(auto) same = heirlock::locked<static_cast<Unchanging>(&Decorated::data)>(object);
  static_assert(std::is_same_v<decltype(data), int&> && std::is_same_v<decltype(same), const int&>);
  EXPECT_EQ(&data, &object.data());
  EXPECT_EQ(&same, &object.data());
}

// Spec: lockable.locked.exception
TEST(LockedMethod, releases_when_the_method_throws) {
  Decorated object;
  EXPECT_THROW(heirlock::locked<&Decorated::fail>(object), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// --- Whose lock it is

// Spec: lockable.anonymous
TEST(LockableConstruction, makes_an_anonymous_lock_for_all_descendants) {
  Guarded object;
  object.acquire();
  EXPECT_EQ(Guarded().mutex().owner(), 0);
  Party(As::process, [&] {
    Guarded made_in_the_child;
    EXPECT_TRUE(made_in_the_child.acquire(false));
    made_in_the_child.release();
    Party(As::process, [&] { EXPECT_FALSE(object.acquire(false)); }).join();
  }).join();
  object.release();
  Gate held, seen;
  Party holder(As::process, [&] {
    object.acquire();
    held.open();
    seen.wait();
    object.release();
  });
  Party sibling(As::process, [&] {
    held.wait();
    EXPECT_FALSE(object.acquire(false));
    seen.open();
  });
}

// Spec: lockable.placed
TEST(LockableConstruction, with_a_lock_of_the_users_uses_that) {
  ReentrantLock lock;
  Guarded object(lock);
  EXPECT_EQ(&object.mutex(), &lock);
  object.acquire();
  EXPECT_TRUE(lock.is_owned());
  object.release();
}

// A copy would be a second owner of one lock, or a second lock for one state.
// Spec: lockable.base
TEST(LockableConstruction, makes_a_base_neither_copied_nor_moved) {
  static_assert(!std::is_copy_constructible_v<Guarded> && !std::is_copy_assignable_v<Guarded>);
  static_assert(!std::is_move_constructible_v<Guarded> && !std::is_move_assignable_v<Guarded>);
  static_assert(!std::is_default_constructible_v<Lockable>, "it is a base class");
  std::unique_ptr<Lockable> object = std::make_unique<Guarded>();
  object->acquire();
  object->release();
}

}  // namespace
