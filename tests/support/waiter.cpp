#include "support/waiter.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "support/exit_walk.hpp"
#include "support/without_backstop.hpp"

namespace support {

using heirlock::AcquireResult;
using heirlock::ReentrantLock;

namespace {

// The walk before 2022 leaves out wake-ups, which the backstop makes up for.
bool kernel_needs_slices() {
  return exit_walk_of_this_kernel() == ExitWalk::before_2022;
}

}  // namespace

Waiter::Waiter(ReentrantLock& lock, Backstop backstop, std::function<void()> then)
    : result_(AcquireResult::not_acquired),
      process_(As::process,
               [this, &lock, sleeps_by_slices = backstop == Backstop::on || kernel_needs_slices(),
                then = std::move(then)] {
                 *result_ = sleeps_by_slices ? lock.acquire() : LockWithoutBackstop(lock).acquire();
                 came_back_.open();
                 if (then)
                   then();
                 else
                   lock.release();
               }) {
  process_.wait_until_asleep_on(&lock);
}

Waiter::~Waiter() {
  if (!is_killed_ && !has_come_back() && !came_back_.wait_for(patience)) {
    ADD_FAILURE() << "a waiter sleeps for ever";
    kill();
  }
}

AcquireResult Waiter::result() {
  if (!has_come_back_) has_come_back_ = came_back_.wait_for(patience);
  if (has_come_back_) return *result_;
  ADD_FAILURE() << "a waiter is stranded";
  kill();
  return AcquireResult::not_acquired;
}

bool Waiter::has_come_back() {
  if (!has_come_back_) has_come_back_ = came_back_.try_wait();
  return has_come_back_;
}

void Waiter::kill() {
  is_killed_ = true;
  process_.kill();
}

}  // namespace support
