// Transfers between two objects, each with a lock of its own. std::scoped_lock takes both without a deadlock,
// in whatever order they are named.
#include <sys/wait.h>
#include <unistd.h>

#include <heirlock/lockable.hpp>
#include <iostream>
#include <mutex>

// It has no recover(): one account alone cannot mend a transfer that was killed halfway. So each acquire
// after a death throws, which is the default.
class Account : public heirlock::Lockable {
 public:
  explicit Account(int balance) : balance_(balance) {}

  void deposit(int amount) {
    locked([&] { *balance_ += amount; });
  }
  int balance() {
    return locked([&] { return *balance_; });
  }

 private:
  heirlock::Shared<int> balance_;
};

void transfer(Account& from, Account& to, int amount) {
  const std::scoped_lock both(from, to);
  from.deposit(-amount);
  to.deposit(amount);
}

int main() {
  Account alice(500'000);
  Account bob(500'000);

  if (fork() == 0) {
    for (int i = 0; i < 200'000; ++i) transfer(alice, bob, 2);
    return 0;
  }
  for (int i = 0; i < 200'000; ++i) transfer(bob, alice, 1);
  wait(nullptr);

  std::cout << "alice has " << alice.balance() << ", bob has " << bob.balance() << '\n';
  return alice.balance() == 300'000 && bob.balance() == 700'000 ? 0 : 1;
}
