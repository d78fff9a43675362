// What holds of acquires and releases in any order, said without the model: by counting.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "property/check.hpp"
#include "property/run.hpp"
#include "support/lock_probe.hpp"

namespace property {
namespace {

using model::Operation;
using model::Outcome;

Outcome outcome_of(Execution& under_way, const Operation& operation) {
  RC_ASSERT(under_way.step(operation));
  return under_way.events().back().outcome;
}

// Spec: lock.reentry.depth, lock.reentry.result
TEST(Order, n_acquires_need_n_releases_in_any_nesting) {
  check([] {
    constexpr std::uint8_t owner = 0, other = 1;
    const auto threads = *rc::gen::element(std::vector<int>{1, 1}, std::vector<int>{2});
    const auto order = *rc::gen::container<std::vector<Operation>>(rc::gen::build<Operation>(
        rc::gen::set(&Operation::action,
                     rc::gen::element(acquire, acquire_for, try_acquire, release, release, release)),
        rc::gen::set(&Operation::actor, rc::gen::just(owner)),
        rc::gen::set(&Operation::lock, rc::gen::element<std::uint8_t>(0, 1, 2))));
    Execution under_way(threads, max_locks);
    std::array<int, max_locks> owed{};
    for (const Operation& operation : order) {
      int& its = owed[operation.lock];
      if (operation.action == release)
        RC_ASSERT(outcome_of(under_way, operation) == (its > 0 ? (--its, Outcome::done) : Outcome::refused));
      else
        RC_ASSERT(outcome_of(under_way, operation) == (its++ > 0 ? Outcome::reentered : Outcome::acquired));
      const bool is_free = outcome_of(under_way, {try_acquire, other, operation.lock}) == Outcome::acquired;
      RC_ASSERT(is_free == (its == 0));
      if (is_free) RC_ASSERT(outcome_of(under_way, {release, other, operation.lock}) == Outcome::done);
    }
  });
}

// Spec: lock.release.owner-only, lock.error.unchanged
TEST(Order, a_release_by_anyone_else_throws_and_changes_nothing) {
  check([] {
    const Program before = *any_program();
    Execution under_way(before.threads, before.locks);
    for (const Operation& operation : before.operations) under_way.step(operation);
    for (std::uint8_t lock = 0; lock < before.locks; ++lock)
      for (const int actor : under_way.free_actors()) {
        heirlock::ReentrantLock& its = under_way.actors().lock(lock).lock;
        if (its.owner() == under_way.actors().tid(actor)) continue;
        const support::LockBytes bytes = support::bytes_of(its);
        RC_ASSERT(outcome_of(under_way, {release, static_cast<std::uint8_t>(actor), lock}) ==
                  Outcome::refused);
        RC_ASSERT(support::bytes_of(its) == bytes);
      }
  });
}

// Spec: lock.acquire.exclusion
TEST(Order, whoever_is_let_in_is_the_only_one_in) {
  check([] {
    const Program program = *any_program();
    Execution under_way(program.threads, program.locks);
    for (const Operation& operation : program.operations) {
      under_way.step(operation);
      for (std::size_t lock = 0; lock < program.locks; ++lock) {
        int inside = 0;
        for (const int actor : under_way.free_actors())
          inside += under_way.actors().view(actor, lock).is_owned ? 1 : 0;
        RC_ASSERT(inside <= 1);
      }
    }
  });
}

// What one step lets in at several locks comes in any order: here, in that of the actors.
std::vector<Event> events_of(const Program& program, const std::vector<int>& threads) {
  Execution under_way(threads, program.locks);
  std::vector<Event> sorted;
  for (const Operation& operation : program.operations) {
    if (makes_a_second_waiter(under_way.model(), operation) || !under_way.step(operation)) continue;
    const auto already = static_cast<std::ptrdiff_t>(sorted.size());
    sorted.insert(sorted.end(), under_way.events().begin() + already, under_way.events().end());
    std::sort(sorted.begin() + already + 1, sorted.end(),
              [](const Event& a, const Event& b) { return a.operation.actor < b.operation.actor; });
  }
  return sorted;
}

// Spec: lock.acquire.exclusion, lock.reentry.depth, lock.inherit.death
TEST(Order, results_do_not_depend_on_thread_versus_process) {
  check([] {
    const Program program = *any_program_for_threads();
    RC_ASSERT(events_of(program, {4}) == events_of(program, {1, 1, 1, 1}));
  });
}

}  // namespace
}  // namespace property
