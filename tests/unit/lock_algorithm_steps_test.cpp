// The steps of each operation, in their order and no others: the algorithm over a Platform that writes each
// step down and does nothing else. What is only slower than it should be, no other test sees.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "heirlock/detail/lock_algorithm.hpp"

namespace {

using namespace heirlock::detail;

std::string steps;
std::function<void(const std::string&)> before;  // what others do before a step
void step(const std::string& name) {
  if (before) before(name);
  steps += name + ' ';
}

struct Written {
  template <class T>
  struct Atomic {
    mutable T value{};
    T load(Order) const { return step(sizeof(T) == 4 ? "read" : "id?"), value; }
    void store(T to, Order) { step(sizeof(T) == 4 ? "store" : "id!"), value = to; }
    bool compare_exchange(T from, T to, Order) {
      return step("exchange"), value == from && (value = to, true);
    }
  };
  template <class T>
  struct Plain {
    T value{};
    T load() const { return value; }
    void store(T to) {
      if (sizeof(T) == 4) step("depth!");
      value = to;
    }
  };
  struct Thread {
    std::uint32_t tid;
    std::uint64_t id;
  };
  using Link = std::uintptr_t;
  using Lock = LockMemory<Written>;
  using Deadline = int;  // how many looks until it has passed; negative: never
  struct Patience {
    int spins = 1;
    explicit Patience(Thread&) {}
  };
  static inline Thread me{7, 77};
  static inline const void* note = nullptr;
  static inline Wait ended_by = Wait::look_again;
  static inline bool gone = false, listed = false, asks = true, is_known = true;
  static inline Outcome admission = heirlock_done;
  static inline int woken = 0, looks = 0;

  static Thread* known_thread() { return is_known ? &me : nullptr; }
  static bool is_admitted(const Thread* thread, const Atomic<std::uint32_t>&) {
    return step("admitted?"), thread != nullptr;
  }
  static Outcome admit(Atomic<std::uint32_t>&) {
    step("admit");
    is_known = !is_refused(admission);
    return admission;
  }
  static void set_pending(Thread&, const Lock&) { step("pending"); }
  static void clear_pending(Thread&) { step("clear"); }
  static Link link_to(const Lock&) { return 1; }
  static Link head(const Thread&) { return 2; }
  static Link first(const Thread&) { return 2; }
  static bool lists_owner_id(const Thread&, std::uint64_t) { return step("listed?"), listed; }
  static void set_next(Link, Link) { step("next!"); }
  static void set_prev(const Thread&, Link, Link) { step("prev!"); }
  static bool is_try(Deadline deadline) { return deadline == 0; }
  static bool has_passed(Deadline deadline) {
    return step("deadline?"), deadline >= 0 && looks++ >= deadline;
  }
  static void step_aside(Atomic<std::uint32_t>&, Deadline, Patience&) { step("aside"); }
  static bool spin(Patience& patience) { return step("spin"), patience.spins-- > 0; }
  static Wait wait(Atomic<std::uint32_t>&, std::uint32_t, Deadline, Patience&) {
    return step("wait"), ended_by;
  }
  static bool asks_this_time(Thread&) { return step("asks?"), asks; }
  static int wake_one(Atomic<std::uint32_t>&) { return step("wake-one"), woken; }
  static void clear_and_wake_all(Atomic<std::uint32_t>& word) { step("store-and-wake-all"), word.value = 0; }
  static const void*& quiet(Thread&, const Lock&) { return note; }
  static void fence(Atomic<std::uint32_t>&, Order) { step("fence"); }
  static bool owner_is_gone(std::uint32_t) { return step("gone?"), gone; }
};
using Algorithm = LockAlgorithm<Written>;

class Steps : public testing::Test {
 protected:
  Steps() {
    steps.clear();
    before = nullptr;
    Written::note = nullptr;
    Written::ended_by = Wait::look_again;
    Written::gone = Written::listed = false;
    Written::asks = Written::is_known = true;
    Written::admission = heirlock_done;
    Written::woken = Written::looks = 0;
  }
  ~Steps() override { before = nullptr; }
  std::string of(const std::function<void()>& operation) {
    steps.clear();
    operation();
    return steps;
  }
  /// Before the count-th step of this kind, others set the word.
  void others(const std::string& step, int count, std::uint32_t word) {
    before = [this, step, count, word, seen = 0](const std::string& now) mutable {
      if (now == step && ++seen == count) lock.word.value = word;
    };
  }
  std::string acquire(int deadline = -1) {
    return of([&] { result = Algorithm::acquire(lock, deadline); });
  }
  std::string release() {
    return of([&] { Algorithm::release(lock); });
  }
  Written::Lock lock;
  Outcome result{};
};

// Spec: protocol.steps
TEST_F(Steps, of_an_undisturbed_acquire_and_release) {
  EXPECT_EQ(acquire(), "id? admitted? pending exchange prev! next! clear id! depth! ");
  EXPECT_EQ(acquire(), "id? depth! ");
  EXPECT_EQ(release(), "id? depth! ");
  EXPECT_EQ(release(), "id? pending next! prev! id! exchange clear ");
}

// Spec: protocol.steps
TEST_F(Steps, of_an_acquire_that_sees_a_mark) {
  lock.word.value = waiters_bit;
  EXPECT_EQ(acquire(), "id? admitted? pending exchange aside read exchange prev! next! clear id! depth! ");
}

// Spec: protocol.steps
TEST_F(Steps, of_a_try_on_a_held_lock) {
  lock.word.value = 8;
  EXPECT_EQ(acquire(0),
            "id? admitted? read asks? pending exchange aside read deadline? id? gone? "
            "read deadline? clear ");  // asks, looks again, gives up
  Written::asks = false;
  EXPECT_EQ(acquire(0), "id? admitted? read asks? ");
}

// Spec: protocol.steps
TEST_F(Steps, of_a_try_that_others_are_faster_than) {
  others("exchange", 1, 8);
  EXPECT_EQ(acquire(0), "id? admitted? read pending exchange aside read deadline? clear ");
}

// Spec: protocol.steps
TEST_F(Steps, of_a_first_and_a_refused_acquire) {
  Written::is_known = false;
  Written::admission = heirlock_unsupported_platform;
  EXPECT_EQ(acquire(), "admitted? admit ");
  EXPECT_EQ(result, heirlock_unsupported_platform);
  EXPECT_EQ(release(), "");
  Written::admission = heirlock_done;
  EXPECT_EQ(acquire(), "admitted? admit pending exchange prev! next! clear id! depth! ");
}

// Spec: protocol.steps
TEST_F(Steps, of_an_acquire_that_waits) {
  lock.word.value = 8;
  others("wait", 1, waiters_bit);
  EXPECT_EQ(acquire(),
            "id? admitted? pending exchange aside read deadline? spin "
            "read deadline? spin exchange wait "
            "read exchange prev! next! clear id! depth! ");
}

// Spec: protocol.steps
TEST_F(Steps, of_an_acquire_that_waits_behind_others) {
  lock.word.value = 8 | waiters_bit;
  others("wait", 1, waiters_bit);
  EXPECT_EQ(acquire(),
            "id? admitted? pending exchange aside read deadline? spin "
            "read deadline? spin wait "
            "read exchange prev! next! clear id! depth! ");
}

// Spec: protocol.steps
TEST_F(Steps, of_an_acquire_whose_mark_another_sets) {
  lock.word.value = 8;
  before = [this, exchanges = 0](const std::string& now) mutable {
    if (now == "exchange" && ++exchanges == 2) lock.word.value = 8 | waiters_bit;
    if (now == "wait") lock.word.value = waiters_bit;
  };
  EXPECT_EQ(acquire(),
            "id? admitted? pending exchange aside read deadline? spin "
            "read deadline? spin exchange "
            "read deadline? spin wait "
            "read exchange prev! next! clear id! depth! ");
}

// Spec: protocol.steps
TEST_F(Steps, of_an_acquire_that_buries_a_dead_owner) {
  lock.word.value = 8;
  Written::gone = true;
  Written::ended_by = Wait::slice_ended;
  EXPECT_EQ(acquire(),
            "id? admitted? pending exchange aside read deadline? spin "
            "read deadline? spin exchange wait id? gone? id? exchange "
            "read exchange prev! next! clear id! depth! ");
  EXPECT_EQ(result, heirlock_inherited);
}

// Spec: protocol.steps, lock.owner.copies
TEST_F(Steps, of_an_owner_with_another_id) {
  acquire();
  lock.owner_id.value = 78;
  Written::listed = true;
  EXPECT_EQ(acquire(), "id? admitted? pending exchange aside read id? listed? clear depth! ");
  EXPECT_EQ(result, heirlock_reentered);
  EXPECT_EQ(release(), "id? read id? listed? depth! ");
  EXPECT_EQ(release(), "id? read id? listed? pending next! prev! id! exchange clear ");
}

// Spec: protocol.steps, lock.owner.thread-id-reuse
TEST_F(Steps, of_a_namesake_of_a_dead_owner) {
  lock.word.value = 7;
  EXPECT_EQ(acquire(),
            "id? admitted? pending exchange aside read id? listed? exchange "
            "read exchange prev! next! clear id! depth! ");
  EXPECT_EQ(result, heirlock_inherited);
}

// Spec: protocol.steps
TEST_F(Steps, of_a_query_by_a_stranger) {
  lock.word.value = 8;
  EXPECT_EQ(of([&] { EXPECT_FALSE(Algorithm::is_owned(lock)); }), "id? read ");
}

// Spec: protocol.steps
TEST_F(Steps, of_two_releases_that_wake) {
  acquire();
  lock.word.value |= waiters_bit;
  EXPECT_EQ(release(), "id? pending next! prev! id! exchange read store wake-one clear ");  // finds nobody
  acquire();
  EXPECT_EQ(release(), "id? pending next! prev! id! exchange read fence store-and-wake-all clear ");
  acquire();
  lock.word.value |= waiters_bit;
  Written::woken = 1;
  EXPECT_EQ(release(), "id? pending next! prev! id! exchange read store wake-one clear ");
  acquire();
  EXPECT_EQ(release(),
            "id? pending next! prev! id! exchange read store wake-one clear ");  // somebody was there
}

// Spec: protocol.steps
TEST_F(Steps, of_repaired_and_abandon) {
  lock.word.value = owner_died_bit;
  acquire();
  EXPECT_EQ(of([&] { Algorithm::repaired(lock); }), "id? read exchange ");
  EXPECT_EQ(of([&] { Algorithm::abandon(lock); }),
            "read exchange depth! id? pending next! prev! id! exchange read exchange clear ");
}

}  // namespace
