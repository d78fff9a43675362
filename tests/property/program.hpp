// Programs: what actors do to locks, made at random or written down.
#ifndef HEIRLOCK_TESTS_PROPERTY_PROGRAM_HPP
#define HEIRLOCK_TESTS_PROPERTY_PROGRAM_HPP

#include <rapidcheck.h>

#include <cstddef>
#include <ostream>
#include <vector>

#include "model/lock_model.hpp"

namespace property {

/// Actors are numbered from 0, through the processes, and on through those that a fork or an exec begins.
struct Program {
  std::vector<int> threads;  ///< of each process
  std::size_t locks;
  std::vector<model::Operation> operations;
};

// The names by which a printed program can stand in a test.
inline constexpr auto acquire = model::Action::acquire;
inline constexpr auto acquire_for = model::Action::acquire_for;
inline constexpr auto give_up = model::Action::give_up;
inline constexpr auto try_acquire = model::Action::try_acquire;
inline constexpr auto release = model::Action::release;
inline constexpr auto repaired = model::Action::repaired;
inline constexpr auto abandon = model::Action::abandon;
inline constexpr auto end_thread = model::Action::end_thread;
inline constexpr auto kill = model::Action::kill;
inline constexpr auto exec = model::Action::exec;
inline constexpr auto stop = model::Action::stop;
inline constexpr auto go_on = model::Action::go_on;
inline constexpr auto fork = model::Action::fork;
inline constexpr auto reopen = model::Action::reopen;

/// As it stands in a test: `EXPECT_EQ(run({{2, 1}, 1, {`, an operation a line, and `}}), "");`.
void showValue(const Program& program, std::ostream& out);

/// 2 to 4 processes of 1 or 2 threads, 1 to 3 locks, and operations of every kind, nearly all of which mean
/// something when their turn comes. A failure is shortened by leaving out operations, actors and locks.
rc::Gen<Program> any_program();

}  // namespace property
#endif
