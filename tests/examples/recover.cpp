// A worker is killed in the middle of a transfer. Whoever locks the bank next undoes the half that was done.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <heirlock/lockable.hpp>
#include <iostream>

struct Accounts {
  int alice = 100;
  int bob = 100;
};

struct Books {
  Accounts now;
  Accounts before;                        // the journal: what they were when the transfer began
  std::atomic<bool> in_transfer = false;  // whether the journal counts
};

class Bank : public heirlock::Lockable {
 public:
  void transfer(int amount, bool killed_halfway = false) {
    locked([&] {
      books_->before = books_->now;
      set_in_transfer(true);
      books_->now.alice -= amount;
      if (killed_halfway) raise(SIGKILL);
      books_->now.bob += amount;
      set_in_transfer(false);
    });
  }

  Accounts accounts() {
    return locked([&] { return books_->now; });
  }

 private:
  // Runs in the next owner, before its acquire returns. If that one is killed too, it runs again.
  void recover() override {
    if (!books_->in_transfer) return;
    books_->now = books_->before;
    set_in_transfer(false);
  }

  // A kill may come between any two stores: the compiler must keep them on their side of the mark.
  void set_in_transfer(bool value) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    books_->in_transfer = value;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  heirlock::Shared<Books> books_;
};

int main() {
  Bank bank;
  bank.transfer(10);
  if (fork() == 0) bank.transfer(50, true);

  int status = 0;
  wait(&status);
  const Accounts accounts = bank.accounts();
  std::cout << "alice has " << accounts.alice << ", bob has " << accounts.bob << '\n';
  return WIFSIGNALED(status) && accounts.alice == 90 && accounts.bob == 110 ? 0 : 1;
}
