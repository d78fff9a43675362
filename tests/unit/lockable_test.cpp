#include "heirlock/lockable.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

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
// ------------------------------------------------------------------------------------------------

// Spec: lockable.acquire
TEST(Lockable, acquire_of_a_free_lock_returns_true_and_takes_it) {
  Guarded object;
  EXPECT_TRUE(object.acquire());
  EXPECT_TRUE(object.mutex().is_owned());
  object.release();
}

// Spec: lockable.acquire
TEST(Lockable, acquire_without_blocking_of_a_free_lock_returns_true_and_takes_it) {
  Guarded object;
  EXPECT_TRUE(object.acquire(false));
  EXPECT_TRUE(object.mutex().is_owned());
  object.release();
}

// Spec: lockable.acquire
TEST(Lockable, acquire_with_a_timeout_of_a_free_lock_returns_true_and_takes_it) {
  Guarded object;
  EXPECT_TRUE(object.acquire(true, 1h));
  EXPECT_TRUE(object.mutex().is_owned());
  object.release();
}

// Spec: lockable.acquire
TEST_P(LockableBetweenParties, acquire_waits_until_the_holder_releases) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.acquire());
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lockable.acquire
TEST_P(LockableBetweenParties, acquire_without_blocking_of_anothers_lock_returns_false) {
  object.acquire();
  other([&] { EXPECT_FALSE(object.acquire(false)); }).join();
  object.release();
}

// Spec: lockable.acquire
TEST_P(LockableBetweenParties, acquire_whose_timeout_passes_returns_false_and_not_early) {
  object.acquire();
  other([&] {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(object.acquire(true, 20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
    EXPECT_FALSE(object.mutex().is_owned());
  }).join();
  object.release();
}

// Spec: lockable.acquire
TEST_P(LockableBetweenParties, acquire_with_a_timeout_gets_a_lock_that_is_released_meanwhile) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.acquire(true, 1h));
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lockable.timeout
TEST_P(LockableBetweenParties, nullopt_means_no_timeout) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.acquire(true, std::nullopt));
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lockable.timeout
TEST_P(LockableBetweenParties, an_empty_optional_means_no_timeout) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.acquire(true, std::optional<std::chrono::milliseconds>()));
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lockable.timeout
TEST_P(LockableBetweenParties, a_filled_optional_is_the_timeout) {
  object.acquire();
  other([&] { EXPECT_FALSE(object.acquire(true, std::optional(1ms))); }).join();
  object.release();
}

// Spec: lockable.timeout
TEST_P(LockableBetweenParties, a_timeout_is_ignored_unless_blocking) {
  object.acquire();
  other([&] {
    EXPECT_FALSE(object.acquire(false, not_a_number));
    EXPECT_FALSE(object.acquire(false, std::chrono::hours::max()));
    EXPECT_FALSE(object.acquire(false, std::optional(1h)));
    EXPECT_FALSE(object.acquire(false, std::optional(not_a_number)));
    EXPECT_FALSE(object.acquire(false, std::nullopt));
    EXPECT_FALSE(object.acquire(false, -1h));
  }).join();
  object.release();
}

// Spec: lockable.timeout
TEST(Lockable, a_timeout_that_is_ignored_does_not_keep_a_free_lock_from_being_taken) {
  Guarded object;
  EXPECT_TRUE(object.acquire(false, not_a_number));
  EXPECT_TRUE(object.acquire(false, std::chrono::hours::min()));
  EXPECT_EQ(object.mutex().depth(), 2U);
  object.release();
  object.release();
}

// Spec: lock.timeout.nonpositive
TEST_P(LockableBetweenParties, a_negative_timeout_counts_as_zero) {
  object.acquire();
  other([&] {
    EXPECT_FALSE(object.acquire(true, -1ns));
    EXPECT_FALSE(object.acquire(true, std::chrono::hours::min()));
    EXPECT_FALSE(object.acquire(true, Seconds(-std::numeric_limits<double>::infinity())));
    EXPECT_FALSE(object.acquire(true, 0s));
  }).join();
  object.release();
}

// Spec: lock.timeout.nonpositive
TEST(Lockable, a_negative_timeout_takes_a_free_lock) {
  Guarded object;
  EXPECT_TRUE(object.acquire(true, -1h));
  object.release();
}

// Spec: lock.timeout.huge
TEST_P(LockableBetweenParties, a_timeout_too_large_to_count_waits_for_ever) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.acquire(true, std::chrono::hours::max()));
    object.release();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lock.timeout.nan
TEST(Lockable, a_timeout_that_is_not_a_number_is_refused) {
  Guarded object;
  EXPECT_THROW(object.acquire(true, not_a_number), std::invalid_argument);
  EXPECT_THROW(object.acquire(true, std::optional(not_a_number)), std::invalid_argument);
  EXPECT_THROW(object.try_lock_for(not_a_number), std::invalid_argument);
}

// Spec: lock.timeout.nan
TEST(Lockable, a_timeout_that_is_not_a_number_leaves_the_depth_as_it_was) {
  Guarded object;
  object.acquire();
  EXPECT_THROW(object.acquire(true, not_a_number), std::invalid_argument);
  EXPECT_EQ(object.mutex().depth(), 1U);
  object.release();
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lock.reentry.result
TEST(Lockable, every_form_of_acquire_reenters) {
  Guarded object;
  object.acquire();
  EXPECT_TRUE(object.acquire());
  EXPECT_TRUE(object.acquire(false));
  EXPECT_TRUE(object.acquire(true, 0s));
  EXPECT_TRUE(object.acquire(true, std::nullopt));
  EXPECT_TRUE(object.try_lock());
  EXPECT_TRUE(object.try_lock_for(0s));
  EXPECT_TRUE(object.try_lock_until(std::chrono::steady_clock::now()));
  object.lock();
  EXPECT_EQ(object.mutex().depth(), 9U);
  for (int i = 0; i < 9; ++i) object.release();
}

// Spec: lock.reentry.depth
TEST_P(LockableBetweenParties, n_acquires_need_n_releases) {
  constexpr int n = 5;
  for (int i = 0; i < n; ++i) object.acquire();
  for (int i = 0; i < n; ++i) {
    other([&] { EXPECT_FALSE(object.acquire(false)); }).join();
    object.release();
  }
  other([&] {
    EXPECT_TRUE(object.acquire(false));
    object.release();
  }).join();
}

// --- release()
// ------------------------------------------------------------------------------------------------

// Spec: lockable.release
TEST_P(LockableBetweenParties, release_by_a_stranger_throws_and_changes_nothing) {
  Gate held;
  Party stranger(GetParam(), [&] {  // not forked from the owner while it held the lock
    held.wait();
    EXPECT_THROW(object.release(), AssertionError);
    EXPECT_THROW(object.unlock(), AssertionError);
  });
  object.acquire();
  object.acquire();
  held.open();
  stranger.join();
  EXPECT_EQ(object.mutex().depth(), 2U);
  object.release();
  object.release();
}

// Spec: lockable.release
TEST(Lockable, release_by_a_child_of_the_owner_throws_and_changes_nothing) {
  Guarded object;
  object.acquire();
  Party(As::process, [&] { EXPECT_THROW(object.release(), AssertionError); }).join();
  EXPECT_TRUE(object.mutex().is_owned());
  object.release();
}

// Spec: lockable.release
TEST(Lockable, release_of_a_free_lock_throws) {
  Guarded object;
  EXPECT_THROW(object.release(), AssertionError);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.release
TEST(Lockable, release_once_too_often_throws) {
  Guarded object;
  object.acquire();
  object.release();
  EXPECT_THROW(object.release(), AssertionError);
}

// Spec: lockable.release
TEST_P(LockableBetweenParties, strangers_that_release_disturb_no_owner_at_work) {
  constexpr int turns = 1000;
  Party stranger(GetParam(), [&] {
    for (int i = 0; i < turns; ++i) EXPECT_THROW(object.release(), AssertionError);
  });
  for (int i = 0; i < turns; ++i) object.increment();
  stranger.join();
  EXPECT_EQ(object.value(), turns);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// --- locked(f)
// ------------------------------------------------------------------------------------------------

// Spec: lockable.locked
TEST_P(LockableBetweenParties, locked_runs_the_function_while_holding_the_lock) {
  object.locked([&] {
    EXPECT_EQ(object.mutex().depth(), 1U);
    other([&] { EXPECT_FALSE(object.acquire(false)); }).join();
  });
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.locked
TEST(Lockable, locked_returns_a_value) {
  Guarded object;
  const auto answer = [] { return std::string("answer"); };
  static_assert(std::is_same_v<decltype(object.locked(answer)), std::string>);
  EXPECT_EQ(object.locked(answer), "answer");
}

// Spec: lockable.locked
TEST(Lockable, locked_returns_a_reference) {
  Guarded object;
  int number = 0;
  const auto reference = [&]() -> int& { return number; };
  static_assert(std::is_same_v<decltype(object.locked(reference)), int&>);
  EXPECT_EQ(&object.locked(reference), &number);
}

// Spec: lockable.locked
TEST(Lockable, locked_returns_nothing_where_the_function_does) {
  Guarded object;
  int calls = 0;
  const auto nothing = [&] { ++calls; };
  static_assert(std::is_void_v<decltype(object.locked(nothing))>);
  object.locked(nothing);
  EXPECT_EQ(calls, 1);
}

// Spec: lockable.locked
TEST(Lockable, locked_returns_what_can_only_be_moved) {
  Guarded object;
  EXPECT_EQ(*object.locked([] { return std::make_unique<int>(7); }), 7);
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

// Spec: lockable.locked
TEST(Lockable, locked_can_be_called_in_const_methods) {
  Guarded object;
  const Guarded& unchanging = object;
  bool owned = false;
  unchanging.locked([&] { owned = object.mutex().is_owned(); });
  EXPECT_TRUE(owned);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.locked
TEST(Lockable, a_locked_method_calls_another_one) {
  Guarded object;
  object.locked([&] {
    object.increment();
    object.increment();
    EXPECT_EQ(object.value(), 2);
    EXPECT_EQ(object.mutex().depth(), 1U);
  });
  EXPECT_EQ(object.mutex().owner(), 0);
}

class Recursive : public Lockable {
 public:
  int sum_to(int n) {
    return locked([&] { return n == 0 ? 0 : n + sum_to(n - 1); });
  }
};

// Spec: lockable.locked
TEST(Lockable, a_locked_method_calls_itself_a_thousand_deep) {
  Recursive object;
  EXPECT_EQ(object.sum_to(1000), 500500);
  EXPECT_EQ(object.mutex().owner(), 0);
}

class Player : public Lockable {
 public:
  int rally(int strokes) {
    return locked([&] { return strokes == 0 ? 0 : 1 + opponent->rally(strokes - 1); });
  }
  Player* opponent = nullptr;
};

// Spec: lockable.locked
TEST(Lockable, locked_methods_of_two_objects_call_each_other) {
  Player one;
  Player two;
  one.opponent = &two;
  two.opponent = &one;
  EXPECT_EQ(one.rally(9), 9);
  EXPECT_EQ(one.mutex().owner(), 0);
  EXPECT_EQ(two.mutex().owner(), 0);
}

// Spec: lockable.locked.exception
TEST(Lockable, an_exception_releases_the_lock_and_reaches_the_caller) {
  Guarded object;
  EXPECT_THROW(object.locked([] { throw std::domain_error("mine"); }), std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.locked.exception
TEST(Lockable, an_exception_gives_back_each_level_it_passes) {
  Guarded object;
  object.locked([&] {
    EXPECT_THROW(object.locked([&] { object.locked([] { throw std::domain_error("mine"); }); }),
                 std::domain_error);
    EXPECT_EQ(object.mutex().depth(), 1U);
  });
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lock.inherit.flag
TEST(Lockable, an_exception_out_of_a_locked_method_is_no_death) {
  Guarded object;
  EXPECT_THROW(object.locked([] { throw std::domain_error("mine"); }), std::domain_error);
  object.acquire();
  EXPECT_EQ(object.recoveries(), 0);
  object.release();
}

// Spec: lockable.release
TEST(Lockable, locked_reports_that_the_function_gave_up_the_lock_itself) {
  Guarded object;
  EXPECT_THROW(object.locked([&] { object.release(); }), AssertionError);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.locked.exception
TEST(Lockable, an_exception_matters_more_than_that_the_function_gave_up_the_lock_itself) {
  Guarded object;
  EXPECT_THROW(object.locked([&] {
    object.release();
    throw std::domain_error("mine");
  }),
               std::domain_error);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// The destructor of a local object runs locked methods while an exception passes: it is not theirs.
// Spec: lockable.locked
TEST(Lockable, a_locked_method_called_while_an_exception_passes_releases_on_return) {
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

// Spec: lock.acquire.exclusion
TEST_P(LockableBetweenParties, no_increment_is_lost) {
  constexpr int parties = 4;
  constexpr int increments = 2000;
  {
    std::vector<std::unique_ptr<Party>> all;
    for (int i = 0; i < parties; ++i)
      all.push_back(std::make_unique<Party>(GetParam(), [&] {
        for (int n = 0; n < increments; ++n) object.increment();
      }));
  }
  EXPECT_EQ(object.value(), parties * increments);
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
TEST(LockedMethod, locks_an_object) {
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(object), 1U);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.decorator
TEST(LockedMethod, locks_a_const_object) {
  const Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_const_method>(object), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, locks_what_a_pointer_points_at) {
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(&object), 1U);
  const Decorated* const unchanging = &object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_const_method>(unchanging), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, locks_what_a_smart_pointer_points_at) {
  const auto unique = std::make_unique<Decorated>();
  const auto shared = std::make_shared<const Decorated>();
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(unique), 1U);
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_const_method>(shared), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, locks_what_a_handle_of_the_users_own_leads_to) {
  struct Handle {
    Decorated& operator*() const { return object; }
    Decorated& object;
  };
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(Handle{object}), 1U);
  std::optional<Decorated> inside(std::in_place);
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(inside), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, locks_a_temporary) {
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(Decorated()), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, may_be_noexcept) {
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_noexcept_method>(object), 1U);
}

// Spec: lockable.decorator
TEST(LockedMethod, may_be_one_of_several_overloads) {
  using WithInt = std::uint32_t (Decorated::*)(int);
  using WithText = std::uint32_t (Decorated::*)(const char*);
  Decorated object;
  EXPECT_EQ(heirlock::locked<static_cast<WithInt>(&Decorated::depth_in_overload)>(object, 0), 1U);
  EXPECT_EQ(heirlock::locked<static_cast<WithText>(&Decorated::depth_in_overload)>(object, "text"), 101U);
}

// Spec: lockable.decorator
TEST(LockedMethod, may_be_inherited) {
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Base::depth_in_base_method>(object), 1U);
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_base_method>(object), 1U);
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_base_method>(&object), 1U);
}

// Spec: lockable.locked
TEST(LockedMethod, may_call_another) {
  Decorated object;
  EXPECT_EQ(heirlock::locked<&Decorated::depth_in_nested_call>(object), 2U);
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.decorator
TEST(LockedMethod, gets_its_arguments_by_reference) {
  Decorated object;
  int number = 21;
  heirlock::locked<&Decorated::double_it>(object, number);
  EXPECT_EQ(number, 42);
}

// Spec: lockable.decorator
TEST(LockedMethod, gets_its_arguments_moved) {
  Decorated object;
  auto number = std::make_unique<int>(7);
  const int* const address = number.get();
  EXPECT_EQ(heirlock::locked<&Decorated::keep>(object, std::move(number)).get(), address);
}

// Spec: lockable.decorator
TEST(LockedMethod, returns_a_reference_where_the_method_does) {
  using Changing = int& (Decorated::*)();
  using Unchanging = const int& (Decorated::*)() const;
  Decorated object;
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

// Spec: lockable.decorator
TEST_P(LockableBetweenParties, a_locked_method_waits_for_the_lock) {
  Decorated decorated;
  decorated.acquire();
  Party waiter(GetParam(), [&] { EXPECT_EQ(heirlock::locked<&Decorated::depth_in_method>(decorated), 1U); });
  waiter.wait_until_asleep_on(&decorated.mutex());
  decorated.release();
  waiter.join();
}

// --- The standard's guards
// ------------------------------------------------------------------------------------

// Spec: lockable.guards
TEST(LockableGuards, lock_guard_holds_the_lock) {
  Guarded object;
  {
    const std::lock_guard hold(object);
    EXPECT_TRUE(object.mutex().is_owned());
  }
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.guards
TEST_P(LockableBetweenParties, unique_lock_reports_whether_it_got_the_lock) {
  const auto a_moment = [] { return std::chrono::steady_clock::now() + 1ms; };
  object.acquire();
  other([&] {
    EXPECT_FALSE(std::unique_lock(object, std::try_to_lock).owns_lock());
    EXPECT_FALSE(std::unique_lock(object, 1ms).owns_lock());
    EXPECT_FALSE(std::unique_lock(object, a_moment()).owns_lock());
  }).join();
  object.release();
  other([&] {
    EXPECT_TRUE(std::unique_lock(object).owns_lock());
    EXPECT_TRUE(std::unique_lock(object, std::try_to_lock).owns_lock());
    EXPECT_TRUE(std::unique_lock(object, 1h).owns_lock());
    EXPECT_TRUE(std::unique_lock(object, a_moment()).owns_lock());
  }).join();
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.guards
TEST(LockableGuards, unique_lock_can_take_the_lock_later_and_give_it_back_early) {
  Guarded object;
  std::unique_lock hold(object, std::defer_lock);
  EXPECT_EQ(object.mutex().owner(), 0);
  hold.lock();
  EXPECT_TRUE(object.mutex().is_owned());
  hold.unlock();
  EXPECT_EQ(object.mutex().owner(), 0);
}

// Spec: lockable.guards
TEST_P(LockableBetweenParties, try_lock_until_a_wall_clock_time_gets_a_lock_that_is_released_meanwhile) {
  object.acquire();
  Party waiter(GetParam(), [&] {
    EXPECT_TRUE(object.try_lock_until(std::chrono::system_clock::now() + 1h));
    object.unlock();
  });
  waiter.wait_until_asleep_on(&object.mutex());
  object.release();
  waiter.join();
}

// Spec: lockable.guards
TEST_P(LockableBetweenParties, scoped_locks_over_two_objects_in_either_order_do_not_deadlock) {
  constexpr int turns = 1000;
  Guarded second;
  Party opposite(GetParam(), [&] {
    for (int i = 0; i < turns; ++i) {
      const std::scoped_lock hold(second, object);
      object.increment();
    }
  });
  for (int i = 0; i < turns; ++i) {
    const std::scoped_lock hold(object, second);
    object.increment();
  }
  opposite.join();
  EXPECT_EQ(object.value(), 2 * turns);
  EXPECT_EQ(second.mutex().owner(), 0);
}

// Spec: lockable.guards
TEST(LockableGuards, the_standards_lock_takes_both_of_two_objects) {
  Guarded one;
  Guarded two;
  std::lock(one, two);
  EXPECT_TRUE(one.mutex().is_owned());
  EXPECT_TRUE(two.mutex().is_owned());
  one.unlock();
  two.unlock();
}

// Spec: lockable.guards
TEST_P(LockableBetweenParties, the_standards_try_lock_gives_back_the_first_of_two_when_the_second_is_busy) {
  Guarded first;
  object.acquire();
  other([&] { EXPECT_EQ(std::try_lock(first, object), 1); }).join();
  EXPECT_EQ(first.mutex().owner(), 0);
  object.release();
}

// --- Whose lock it is
// -----------------------------------------------------------------------------------------

// Spec: lockable.anonymous
TEST(LockableConstruction, anonymous_objects_have_locks_of_their_own) {
  Guarded one;
  Guarded two;
  one.acquire();
  EXPECT_EQ(two.mutex().owner(), 0);
  EXPECT_NE(&one.mutex(), &two.mutex());
  one.release();
}

// Spec: lockable.anonymous
TEST(LockableConstruction, an_anonymous_lock_is_shared_by_siblings) {
  Guarded object;
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
  holder.join();
}

// Spec: lockable.anonymous
TEST(LockableConstruction, an_anonymous_lock_is_shared_by_grandchildren) {
  Guarded object;
  object.acquire();
  Party(As::process, [&] { Party(As::process, [&] { EXPECT_FALSE(object.acquire(false)); }).join(); }).join();
  object.release();
}

// Spec: lockable.anonymous
TEST(LockableConstruction, an_object_made_in_a_child_is_not_its_parents) {
  Guarded object;
  object.acquire();
  Party(As::process, [&] {
    Guarded the_childs;
    EXPECT_TRUE(the_childs.acquire(false));
    the_childs.release();
  }).join();
  object.release();
}

// Spec: lockable.placed
TEST(LockableConstruction, a_placed_lock_is_the_users) {
  ReentrantLock lock;
  Guarded object(lock);
  EXPECT_EQ(&object.mutex(), &lock);
  object.acquire();
  EXPECT_TRUE(lock.is_owned());
  object.release();
}

// Spec: lock.owner.query
TEST(LockableConstruction, mutex_shows_the_owner_the_depth_and_the_need_of_repair) {
  Guarded object;
  object.acquire();
  object.acquire();
  EXPECT_EQ(object.mutex().owner(), getpid());
  EXPECT_EQ(object.mutex().depth(), 2U);
  EXPECT_FALSE(object.mutex().needs_repair());
  object.release();
  object.release();
  die_holding(object);
  EXPECT_TRUE(object.mutex().needs_repair());
}

// A copy would be a second owner of one lock, or a second lock for one state.
// Spec: lockable.base
TEST(LockableConstruction, an_object_can_be_neither_copied_nor_moved) {
  static_assert(!std::is_copy_constructible_v<Guarded> && !std::is_copy_assignable_v<Guarded>);
  static_assert(!std::is_move_constructible_v<Guarded> && !std::is_move_assignable_v<Guarded>);
}

// Spec: lockable.base
TEST(LockableConstruction, an_object_can_be_destroyed_through_its_base) {
  std::unique_ptr<Lockable> object = std::make_unique<Guarded>();
  object->acquire();
  object->release();
  object.reset();
  static_assert(!std::is_default_constructible_v<Lockable>, "it is a base class");
}

}  // namespace
