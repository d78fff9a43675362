#include "world.hpp"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/libc_mutex.hpp"

namespace crash {
namespace {

using heirlock::AcquireResult;

void wait_for(sem_t& gate) {
  while (sem_wait(&gate) != 0) continue;
}

// As the kernel would walk it, there and back.
bool my_robust_list_has(std::size_t expected) {
  robust_list_head* head = nullptr;
  std::size_t size = 0;
  if (syscall(SYS_get_robust_list, 0, &head, &size) != 0 || head->list_op_pending != nullptr) return false;
  std::size_t entries = 0;
  const robust_list* before = &head->list;
  for (const robust_list* at = head->list.next; at != &head->list; before = at, at = at->next) {
    if (reinterpret_cast<const robust_list* const*>(at)[-1] != before || ++entries > expected) return false;
  }
  return entries == expected;
}

class Survivor {
 public:
  Survivor(World& world, Desk& desk, Site& site) : world_(world), desk_(desk), site_(site) {}

  void live(Then then) {
    check(pthread_mutex_lock(&desk_.around) == 0, "a robust mutex could not be locked");
    check(pthread_mutex_lock(&desk_.before) == 0, "a robust mutex could not be locked");
    take();
    check(my_robust_list_has(3), "its robust list was torn by an acquire");
    check(pthread_mutex_lock(&desk_.between) == 0, "a robust mutex could not be locked within ours");
    check(pthread_mutex_unlock(&desk_.before) == 0, "a robust mutex could not be unlocked within ours");
    check(my_robust_list_has(3), "its robust list was torn between two robust mutexes");
    sem_post(&desk_.owns);
    if (then == Then::hold) wait_for(desk_.may_release);
    if (then == Then::stop_to_hold) raise(SIGSTOP);
    site_.record.write();
    check(lock_.is_owned() && lock_.depth() == 1, "it does not own what it had acquired");
    lock_.release();
    check(!lock_.is_owned(), "it still owns what it released once");
    check(my_robust_list_has(2), "its robust list was torn by a release");  // from between two others
    check(pthread_mutex_unlock(&desk_.around) == 0, "a robust mutex could not be unlocked after ours");
    check(my_robust_list_has(1), "its robust list was torn by a robust mutex");
    sem_post(&desk_.has_released);
  }

  [[noreturn]] void die() {
    wait_for(desk_.may_die);
    check(lock_.acquire() == AcquireResult::acquired, "the lock of the last of all was not simply acquired");
    check(pthread_mutex_lock(&desk_.before) == 0, "a robust mutex could not be locked after ours");
    check(my_robust_list_has(3), "its robust list was torn at its end");
    sem_post(&desk_.is_dying);
    for (;;) ::kill(getpid(), SIGKILL);
  }

 private:
  void check(bool holds, const char* otherwise) {
    if (!holds) desk_.complaint = otherwise;
  }

  void take() {
    const AcquireResult result = world_.is_used_as_objects ? take_as_object() : lock_.acquire();
    check(lock_.depth() == 1, "the depth was not 1 after an acquire");
    check(result != AcquireResult::acquired || site_.record.is_whole(),
          "it acquired, and was not told of what was half-written");
    site_.results[site_.count] = result;
    ++site_.count;
    if (result == AcquireResult::inherited && !world_.is_used_as_objects) {
      site_.record.mend();
      lock_.repaired();
    }
  }

  AcquireResult take_as_object() {
    account_.lock();
    return account_.has_recovered ? AcquireResult::inherited : AcquireResult::acquired;
  }

  World& world_;
  Desk& desk_;
  Site& site_;
  Lock lock_ = site_.lock();
  Account account_{site_};
};

}  // namespace

World::World() {
  for (Desk& desk : desks) {
    for (sem_t* gate : {&desk.owns, &desk.may_release, &desk.has_released, &desk.may_die, &desk.is_dying})
      sem_init(gate, 1, 0);
    support::make_libc_mutex(desk.around, PTHREAD_MUTEX_DEFAULT, true);
    support::make_libc_mutex(desk.before, PTHREAD_MUTEX_DEFAULT, true);
    support::make_libc_mutex(desk.between, PTHREAD_MUTEX_DEFAULT, true);
  }
}

void survive(World& world, std::size_t desk, Site& site, Then then) {
  Survivor survivor(world, world.desks[desk], site);
  survivor.live(then);
  survivor.die();
}

bool was_left_by_the_dead(pthread_mutex_t& mutex) {
  const int error = pthread_mutex_trylock(&mutex);
  if (error == EOWNERDEAD) pthread_mutex_consistent(&mutex);
  if (error == EOWNERDEAD || error == 0) pthread_mutex_unlock(&mutex);
  return error == EOWNERDEAD;
}

}  // namespace crash
