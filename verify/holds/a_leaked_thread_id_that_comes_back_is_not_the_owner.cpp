// Spec:    lock.owner.thread-id-reuse, lock.acquire.visibility
// Spec:    lock.inherit.missed, lock.acquire.progress, lock.release.owner-only
// Claim:   if the kernel missed the death of an owner, and a new thread is given its thread id, the new
// thread
//          is not taken for the owner: it can neither re-enter nor release; its acquire inherits, with the
//          dead owner's writes; and a sleeper behind the dead owner gets the lock in turn.
// Threads: 2 and 3: the owner that vanishes, its namesake that begins afterwards, and a waiter that may
//          die.
// Search:  every execution for 2; bounded and random for 3.
#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

template <int threads, int deaths>
struct a_leaked_thread_id_that_comes_back_is_not_the_owner
    : Scenario<a_leaked_thread_id_that_comes_back_is_not_the_owner<threads, deaths>, threads, deaths> {
  using Self = a_leaked_thread_id_that_comes_back_is_not_the_owner;
  CheckedLock lock{this->kernel, "the lock"};
  CheckedLock another{this->kernel, "another lock"};
  Data data;

  a_leaked_thread_id_that_comes_back_is_not_the_owner() {
    this->kernel.threads[1].tid = this->kernel.threads[0].tid;
    this->kernel.death_comes = [](Moment) {
      const auto& running = heirlock::verify::Kernel::running();
      return &running.me() == &running.threads[2] && choices().rarely();
    };
  }
  void owner() {
    lock.acquire();
    data.change();
    lock.owner_died();
    this->kernel.vanish();
  }
  void namesake() {
    this->kernel.await_end_of(0);
    another.acquire();  // so that it has an id of its own
    another.release();
    expect(algorithm.release(lock.memory) == heirlock_not_owner,
           "a namesake can release the dead owner's lock");
    waiter();
  }
  void waiter() {
    lock.acquire();
    data.change();
    lock.release();
  }
  void at_the_end() { expect_usable(lock); }

  static constexpr typename Self::Role roles[] = {
      {"owner", &Self::owner}, {"namesake", &Self::namesake}, {"waiter", &Self::waiter}};
};

const Check check(
    __FILE__,
    {row<a_leaked_thread_id_that_comes_back_is_not_the_owner<2, 0>>("nobody waits", every_execution()),
     row<a_leaked_thread_id_that_comes_back_is_not_the_owner<3, 0>>("a waiter", every_execution_with(3),
                                                                    every_execution_with(5)),
     row<a_leaked_thread_id_that_comes_back_is_not_the_owner<3, 1>>("a waiter that may die", sampled(200'000),
                                                                    sampled(10'000'000))});

}  // namespace
