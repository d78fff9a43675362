#include "model/scenario.hpp"

namespace heirlock::verify {

CheckedLock::CheckedLock(Kernel& kernel, const char* name) : name_(name) {
  kernel.add(memory, name, *this);
}
CheckedLock::~CheckedLock() = default;

Outcome CheckedLock::acquire(Deadline deadline) {
  ModelThread& me = Kernel::running().me();
  me.time_is_over = false;
  tell(deadline == Deadline::never ? "acquire" : deadline == Deadline::passed ? "try" : "timed acquire");
  const unsigned sleeps = me.sleeps;
  const Outcome result = algorithm.acquire(memory, deadline);
  expect(!detail::is_refused(result), "an acquire is refused");
  expect(deadline != Deadline::passed || me.sleeps == sleeps, "a try has waited");
  expect(me.pending == 0, "an acquire has ended and left its pending mark");
  if (result == heirlock_not_acquired) {
    tell("... not acquired");
    expect(deadline != Deadline::never, "an acquire without a deadline has given up");
    expect(deadline == Deadline::passed || me.time_is_over, "an acquire has given up before its time");
    expect(owner_ != &me, "the owner cannot acquire again");
    return result;
  }
  tell(result == heirlock_reentered   ? "... reentered"
       : result == heirlock_inherited ? "... inherited"
                                      : "... acquired");
  if (owner_ == &me) {
    expect(result == heirlock_reentered, "the owner acquires again, and it is not told so");
    ++depth_;
  } else {
    expect(owner_ == nullptr, "two threads own the lock");
    expect(result != heirlock_reentered, "a thread that does not own the lock has re-entered it");
    expect(result == heirlock_inherited || !must_inherit_, "a death is forgotten");
    expect(result == heirlock_acquired || must_inherit_, "a death is reported that was none");
    owner_ = &me;
    depth_ = 1;
  }
  expect(memory.depth.load() == depth_, "the depth is not what the owner owes");
  return result;
}

void CheckedLock::release() {
  expect(depth_ > 0, "the scenario releases what it does not hold");
  if (depth_ == 1) owner_ = nullptr;  // before the step that lets the next one in
  --depth_;
  tell("release");
  expect_done(algorithm.release(memory));
  tell("... released");
}

void CheckedLock::repaired() {
  tell("repaired");
  must_inherit_ = false;
  expect_done(algorithm.repaired(memory));
}

void CheckedLock::abandon() {
  owner_ = nullptr;
  must_inherit_ = true;
  tell("abandon");
  algorithm.abandon(memory);
  expect_done(heirlock_done);
}

void CheckedLock::expect_done(Outcome outcome) {
  expect(outcome == heirlock_done, "the owner is refused what is the owner's");
  expect(Kernel::running().me().pending == 0, "an operation has ended and left its pending mark");
}

void CheckedLock::tell(const char* what) {
  if (telling) Kernel::running().tell("%s: %s", name_, what);
}

void expect_usable(CheckedLock& lock) {
  expect(lock.acquire(Deadline::passed) != heirlock_not_acquired,
         "all threads have ended, and the lock is not to be had");
}

Data::Data() : value_(0) {}
Data::~Data() = default;

void Data::change() {
  const int value = value_(nowhere).load();
  value_(nowhere).store(value + 1);
  Kernel::running().before_step(Moment::working);
  value_(nowhere).store(value + 2);
}

int Data::read() const {
  return value_(nowhere).load();
}

}  // namespace heirlock::verify
