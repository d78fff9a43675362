#include "support/waiter.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "support/without_backstop.hpp"

namespace support {

using heirlock::AcquireResult;
using heirlock::ReentrantLock;

Waiter::Waiter(ReentrantLock& lock, Backstop backstop, std::function<void()> then)
    : result_(AcquireResult::not_acquired),
      process_(As::process, [this, &lock, backstop, then = std::move(then)] {
        *result_ = backstop == Backstop::on ? lock.acquire() : LockWithoutBackstop(lock).acquire();
        came_back_.open();
        if (then)
          then();
        else
          lock.release();
      }) {
  process_.wait_until_asleep();
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
