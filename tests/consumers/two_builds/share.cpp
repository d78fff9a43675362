// share take NAME    makes a named segment, writes under its lock, and ends as the lock's owner at depth 2.
// share inherit NAME inherits that lock, in a program that was built apart.
#include <unistd.h>

#include <cstring>
#include <heirlock/reentrant_lock.hpp>
#include <heirlock/shared.hpp>

using heirlock::AcquireResult;

struct Account {
  heirlock::ReentrantLock lock;
  long balance = 0;
};
using SharedAccount = heirlock::Shared<Account>;

int main(int, char** arguments) {
  const char* const name = arguments[2];
  if (std::strcmp(arguments[1], "take") == 0) {
    const auto account = SharedAccount::create(name);
    account->lock.lock();
    account->lock.lock();
    account->balance = 7;
    _exit(account->lock.depth() == 2 ? 0 : 1);
  }
  const auto account = SharedAccount::open(name);
  if (account->lock.try_acquire() != AcquireResult::inherited) return 2;
  if (account->lock.depth() != 1 || account->balance != 7) return 3;
  account->lock.repaired();
  account->lock.release();
  return account->lock.owner() == 0 && !account->lock.needs_repair() ? 0 : 4;
}
