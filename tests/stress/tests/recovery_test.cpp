// The ledger survives a kill between any two machine instructions.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "heirlock/shared.hpp"
#include "stepped_victim.hpp"
#include "stress/bank.hpp"

using heirlock::detail::LinuxPlatform;
using stress::Bank;
using stress::Ledger;
using stress::Line;
using stress::Money;
using stress::Stage;
using stress::SteppedVictim;
using stress::Visitor;

namespace {

constexpr stress::Transfer order{0, 1, 300};
using Balances = std::pair<Money, Money>;
constexpr Balances before{1000, 1000};
constexpr Balances after{700, 1300};

struct World {
  heirlock::Shared<Ledger> ledger{2U};
  heirlock::Shared<Line> victims_line;
  heirlock::Shared<Line> heirs_line;
  Bank bank{*ledger};

  // What is left once the heir has had the lock.
  Balances settle() {
    Visitor heir(*heirs_line);
    EXPECT_EQ(heirlock::locked<&Bank::audit>(bank), 0);
    EXPECT_EQ(heirs_line->wrong_owners.read(), 0U);
    EXPECT_EQ(victims_line->wrong_owners.read(), 0U);
    return {ledger->balances[order.payer].load(), ledger->balances[order.payee].load()};
  }
};

// All that processes share, in so far as a transfer changes it.
using Memory = std::array<unsigned char, sizeof(stress::Journal) + sizeof(std::uint64_t) + 2 * sizeof(Money) +
                                             sizeof(heirlock::ReentrantLock)>;
Memory memory_of(World& world) {
  Memory memory;
  unsigned char* end = memory.data();
  const auto append = [&end](const void* bytes, std::size_t size) {
    std::memcpy(end, bytes, size);
    end += size;
  };
  append(&world.ledger->journal, sizeof world.ledger->journal);
  append(&world.ledger->inside, sizeof world.ledger->inside);
  append(&world.ledger->balances[0], 2 * sizeof(Money));
  append(&world.bank.mutex(), sizeof world.bank.mutex());
  return memory;
}

// A process that lives in a world of its own, and is traced there.
struct Trial {
  Trial(const std::function<void(World&)>& past, const std::function<void(Bank&)>& body) {
    past(world);
    victim.emplace(
        [this] {
          static Visitor visitor(*world.victims_line);
          heirlock::ReentrantLock first;  // so that the steps are not those of a thread's first use of a lock
          first.lock();
          first.unlock();
        },
        [this, body] { body(world.bank); });
  }

  World world;
  std::optional<SteppedVictim> victim;
};

// There are one or two thousand; with a sanitizer many more, and each takes microseconds to step through.
constexpr long most_instructions = 10'000;

// Executes the body and returns after how many of its instructions something had changed for the others, and
// 0. To the others, a kill between two of these is the same as one at the first.
std::vector<long> changes_made_by(SteppedVictim& victim, World& world) {
  std::vector<long> changes{0};
  Memory memory = memory_of(world);
  for (long count = 1; !victim.has_ended() && count <= most_instructions; ++count) {
    victim.step(1);
    const Memory changed = memory_of(world);
    if (changed != memory) changes.push_back(count);
    memory = changed;
  }
  return changes;
}

// Once in this process, so that each victim forked later executes the same instructions: not one symbol is
// left to be looked up.
void rehearse(const std::function<void(World&)>& past, const std::function<void(Bank&)>& body) {
  World world;
  past(world);
  Visitor visitor(*world.victims_line);
  body(world.bank);
}

// Kills a victim between any two changes that its body makes, and lets `check` see what is left.
void for_each_kill_point(const std::function<void(World&)>& past, const std::function<void(Bank&)>& body,
                         const std::function<void(World&)>& check) {
  rehearse(past, body);
  Trial scout(past, body);
  if (!scout.victim->is_traced()) GTEST_SKIP() << "this system does not let a process trace its child";
  const std::vector<long> points = changes_made_by(*scout.victim, scout.world);
  if (!scout.victim->has_ended()) GTEST_SKIP() << "too many instructions; is a sanitizer in between?";
  EXPECT_GT(points.size(), 10U);
  for (const long count : points) {
    SCOPED_TRACE("killed after " + std::to_string(count) + " instructions");
    Trial trial(past, body);
    trial.victim->step(count);
    trial.victim.reset();
    check(trial.world);
  }
}

// Spec: stress.verdict
TEST(Recovery, a_transfer_that_is_killed_anywhere_is_finished_or_undone) {
  for_each_kill_point([](World&) {}, [](Bank& bank) { bank.transfer(order); },
                      [](World& world) {
                        const Balances left = world.settle();
                        EXPECT_TRUE(left == before || left == after) << left.first << " and " << left.second;
                      });
}

// Spec: stress.verdict
TEST(Recovery, a_transfer_that_a_thread_abandons_at_any_stage_is_finished_or_undone) {
  for (const std::uint32_t stores : {0U, 1U, 2U, 3U}) {
    SCOPED_TRACE(stores);
    World world;
    const pid_t victim = fork();
    if (victim == 0) {
      Visitor visitor(*world.victims_line);
      world.bank.abandon_transfer(order, stores);
      _exit(0);
    }
    waitpid(victim, nullptr, 0);
    EXPECT_NE(world.ledger->journal.stage.load(), Stage::none);
    EXPECT_EQ(world.settle(), stores < 2 ? before : after);
    EXPECT_EQ((stores < 2 ? world.heirs_line->undone : world.heirs_line->finished).read(), 1U);
  }
}

// Leaves the lock as an owner does who died with the journal in this stage and these balances.
void die_within(World& world, Stage stage, Balances balances) {
  const pid_t victim = fork();
  if (victim == 0) {
    static_cast<void>(world.bank.mutex().acquire());
    Ledger& ledger = *world.ledger;
    ledger.inside.store(1);
    ledger.journal.payer.store(order.payer);
    ledger.journal.payee.store(order.payee);
    ledger.journal.payer_before.store(before.first);
    ledger.journal.payee_after.store(after.second);
    ledger.journal.stage.store(stage);
    ledger.balances[order.payer].store(balances.first);
    ledger.balances[order.payee].store(balances.second);
    _exit(0);
  }
  waitpid(victim, nullptr, 0);
}

void kill_heirs_of(Stage stage, Balances balances, Balances expected) {
  for_each_kill_point([=](World& world) { die_within(world, stage, balances); },
                      [](Bank& bank) {
                        if (bank.acquire()) bank.release();
                      },
                      [=](World& world) { EXPECT_EQ(world.settle(), expected); });
}

// Spec: stress.verdict
TEST(Recovery, an_heir_that_is_killed_while_it_undoes_is_followed_by_one_that_undoes) {
  kill_heirs_of(Stage::prepared, {700, 1000}, before);
}

// Spec: stress.verdict
TEST(Recovery, an_heir_that_is_killed_while_it_finishes_is_followed_by_one_that_finishes) {
  kill_heirs_of(Stage::withdrawn, {700, 1000}, after);
}

// Spec: stress.verdict
TEST(Recovery, a_transfer_that_was_all_but_done_is_not_carried_out_twice) {
  kill_heirs_of(Stage::withdrawn, after, after);
}

}  // namespace
