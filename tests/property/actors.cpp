#include "property/actors.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "support/party.hpp"

namespace property {
namespace {

using model::Outcome;

constexpr std::chrono::seconds patience{30};

// The board and the process that forks the actors, for as long as the test program runs.
class Server {
 public:
  Server() {
    const int file = memfd_create("board", 0);  // inherited by exec
    if (file < 0 || ftruncate(file, sizeof(Board)) != 0) std::abort();
    void* const memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) std::abort();
    board_ = ::new (memory) Board;
    sem_init(&board_->process_wanted, 1, 0);
    sem_init(&board_->answered, 1, 0);
    process_ = ::fork();
    if (process_ != 0) return;
    const std::string number = std::to_string(file);
    execl(ACTOR, ACTOR, number.c_str(), "serve", nullptr);
    _exit(2);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    ::kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
  }

  Board& board() const { return *board_; }

 private:
  Board* board_;
  pid_t process_;
};

Board& board() {
  static const Server server;
  return server.board();
}

void clear(Slot& slot) {
  new (&slot) Slot{};
  sem_init(&slot.asked, 1, 0);
}

// Its numbers may be given to others now.
void forget(Slot& slot) {
  slot.process = slot.tid = 0;
}

bool is_gone(pid_t tid) {
  const char state = support::state_of(tid);
  return state == '\0' || state == 'Z' || state == 'X';
}

std::string name_of(int actor) {
  return "actor " + std::to_string(actor);
}

}  // namespace

Actors::Actors(const std::vector<int>& threads, std::size_t locks, Backstop backstop) : names_(locks) {
  board().has_backstop = backstop == Backstop::on;
  board().locks = locks;
  for (std::size_t lock = 0; lock < locks; ++lock) {
    locks_.push_back(heirlock::Shared<Guarded>::create(names_[lock]));
    std::strncpy(board().names[lock], names_[lock].str().c_str(), sizeof board().names[lock] - 1);
  }
  for (const int count : threads) {
    board().first_slot = orders_.size();
    board().slots_of_process = static_cast<std::size_t>(count);
    const int first = static_cast<int>(orders_.size());
    for (int i = 0; i < count; ++i) begin();
    sem_post(&board().process_wanted);
    for (int i = 0; i < count; ++i) wait_for_answer(first + i);
  }
}

Actors::~Actors() {
  for (std::size_t actor = 0; actor < count(); ++actor) {
    const Slot& its = board().slots[actor];
    if (its.process > 0) ::kill(its.process, SIGKILL);
  }
  for (std::size_t actor = 0; actor < count(); ++actor) {
    Slot& its = board().slots[actor];
    while (its.tid > 0 && !is_gone(its.tid)) sched_yield();
    clear(its);
  }
}

Slot& Actors::slot(int actor) {
  return board().slots[index(actor)];
}

int Actors::begin() {
  clear(board().slots[orders_.size()]);
  orders_.push_back(1);
  return static_cast<int>(orders_.size()) - 1;
}

void Actors::wait_until(const std::function<bool()>& holds, const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end)
      throw Disagreement("found nothing within " + std::to_string(patience.count()) + " s, expected that " +
                         what);
    timespec soon{};
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_nsec += 100'000;
    if (soon.tv_nsec >= 1'000'000'000) soon = {soon.tv_sec + 1, soon.tv_nsec - 1'000'000'000};
    sem_clockwait(&board().answered, CLOCK_MONOTONIC, &soon);
  }
}

void Actors::order(int actor, bool is_to_look, const model::Operation& operation) {
  slot(actor).is_to_look = is_to_look;
  slot(actor).operation = operation;
  ++orders_[index(actor)];
  sem_post(&slot(actor).asked);
}

void Actors::wait_for_answer(int actor) const {
  const auto has_answered = [&] {
    if (!has_come_back(actor)) throw_if_dead(actor);
    return has_come_back(actor);
  };
  wait_until(has_answered, name_of(actor) + " answers");
}

void Actors::throw_if_dead(int actor) const {
  const Slot& its = slot(actor);
  if (its.tid > 0 && is_gone(its.tid) && !has_come_back(actor))
    throw Disagreement("found that " + name_of(actor) + " has ended, expected it to answer");
}

Outcome Actors::act(const model::Operation& operation) {
  const int actor = operation.actor;
  slot(actor).futex = nullptr;
  slot(actor).time_is_over = false;
  order(actor, false, operation);
  // With the backstop, time is real, and a timed acquire comes back by itself.
  const bool may_block = operation.action == acquire || !board().has_backstop;
  bool sleeps = false;
  const auto has_answered_or_sleeps = [&] {
    if (has_come_back(actor)) return true;
    throw_if_dead(actor);
    return sleeps = may_block && is_asleep(actor);
  };
  wait_until(has_answered_or_sleeps, name_of(actor) + " answers, or sleeps");
  return sleeps ? Outcome::blocks : outcome_of(actor);
}

bool Actors::is_asleep(int actor) const {
  const void* const futex = slot(actor).futex;
  return futex != nullptr && support::is_asleep_on(tid(actor), futex);
}

Outcome Actors::give_up(int actor) {
  slot(actor).time_is_over = true;
  syscall(SYS_tgkill, slot(actor).process.load(), tid(actor), SIGUSR1);
  wait_for_answer(actor);
  return outcome_of(actor);
}

void Actors::end_thread(int actor) {
  order(actor, false, {model::Action::end_thread, 0, 0});
  wait_for_end(actor);
}

void Actors::kill(const std::vector<int>& actors) {
  ::kill(slot(actors[0]).process, SIGKILL);
  for (const int actor : actors) wait_for_end(actor);
}

void Actors::wait_for_end(int actor) {
  wait_until([&] { return is_gone(tid(actor)); }, name_of(actor) + " ends");
  forget(slot(actor));
}

void Actors::stop(const std::vector<int>& actors) {
  ::kill(slot(actors[0]).process, SIGSTOP);
  for (const int actor : actors)
    wait_until([&] { return support::state_of(tid(actor)) == 'T'; }, name_of(actor) + " stops");
}

void Actors::go_on(int actor) {
  ::kill(slot(actor).process, SIGCONT);
}

void Actors::exec(int actor, const std::vector<int>& all) {
  const int newcomer = begin();
  slot(actor).newcomer = index(newcomer);
  order(actor, false, {model::Action::exec, 0, 0});
  wait_for_answer(newcomer);
  for (const int old : all) forget(slot(old));
}

void Actors::fork(int actor) {
  const int newcomer = begin();
  slot(actor).newcomer = index(newcomer);
  order(actor, false, {model::Action::fork, 0, 0});
  wait_for_answer(actor);
  wait_for_answer(newcomer);
}

void Actors::look(const std::vector<int>& actors) {
  for (const int actor : actors) order(actor, true);
  for (const int actor : actors) wait_for_answer(actor);
}

}  // namespace property
