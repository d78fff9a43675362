// What a scenario is made of: threads with roles, locks that know what must be true of them, and a search.
//
//   // Spec:    lock.acquire.exclusion
//   // Claim:   ...
//   // Threads: 2, of which one may die before any step.
//   // Search:  every execution.
//   #include "model/scenario.hpp"
//
//   namespace {
//   using namespace heirlock::verify;
//
//   struct the_claim_in_a_few_words : Scenario<the_claim_in_a_few_words, 2, 1> {  // threads, deaths
//     CheckedLock lock{kernel, "the lock"};
//     void owner() { ... }
//     void heir() { ... }
//     void at_the_end() { expect_usable(lock); }
//     static constexpr Role roles[] = {{"owner", &the_claim_in_a_few_words::owner},
//                                      {"heir", &the_claim_in_a_few_words::heir}};
//   };
//
//   }  // namespace
//
//   int main(int argc, char** argv) {
//     return explore(argc, argv, {row<the_claim_in_a_few_words>("one may die", every_execution())});
//   }
#ifndef HEIRLOCK_VERIFY_MODEL_SCENARIO_HPP
#define HEIRLOCK_VERIFY_MODEL_SCENARIO_HPP

#include "model/platform.hpp"
#include "model/scheduler.hpp"

namespace heirlock::verify {

// A lock, with an account of who must own it, how deep, and whether the next owner must inherit. Each
// operation is checked against the account.
class CheckedLock final : public Watcher {
 public:
  CheckedLock(Kernel& kernel, const char* name) : name_(name) { kernel.add(memory, name, *this); }
  CheckedLock(const CheckedLock&) = delete;
  CheckedLock& operator=(const CheckedLock&) = delete;

  Outcome acquire(Deadline deadline = Deadline::never) {
    ModelThread& me = Kernel::running().me();
    me.time_is_over = false;
    tell(deadline == Deadline::never ? "acquire" : deadline == Deadline::passed ? "try" : "timed acquire");
    const unsigned sleeps = me.sleeps;
    const Outcome result = Algorithm::acquire(memory, deadline);
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
  void release() {
    expect(depth_ > 0, "the scenario releases what it does not hold");
    if (depth_ == 1) owner_ = nullptr;  // before the step that lets the next one in
    --depth_;
    tell("release");
    as_owner([&] { return Algorithm::release(memory); });
    tell("... released");
  }
  void repaired() {
    tell("repaired");
    must_inherit_ = false;
    as_owner([&] { return Algorithm::repaired(memory); });
  }
  void abandon() {
    owner_ = nullptr;
    must_inherit_ = true;
    tell("abandon");
    as_owner([&] { return Algorithm::abandon(memory), heirlock_done; });
  }

  bool is_held() const { return owner_ != nullptr; }
  /// For a death that the kernel is made to miss, or a flag that is set by hand.
  void owner_died() override {
    owner_ = nullptr;
    must_inherit_ = true;
  }

  Lock memory;

 private:
  template <class Operation>
  void as_owner(Operation operation) {
    expect(operation() == heirlock_done, "the owner is refused what is the owner's");
    expect(Kernel::running().me().pending == 0, "an operation has ended and left its pending mark");
  }
  void tell(const char* what) {
    if (telling) Kernel::running().tell("%s: %s", name_, what);
  }

  const char* const name_;
  const ModelThread* owner_ = nullptr;
  std::uint32_t depth_ = 0;
  bool must_inherit_ = false;
};

// What a lock protects. Two accesses that no order separates are a data race, which Relacy reports.
class Data {
 public:
  /// Changes it in two steps, between which the thread may die and leave it half-written.
  void change() {
    const int value = value_(nowhere).load();
    value_(nowhere).store(value + 1);
    Kernel::running().before_step(Moment::working);
    value_(nowhere).store(value + 2);
  }
  int read() const { return value_(nowhere).load(); }

 private:
  rl::var<int> value_{0};
};

template <class Derived, int thread_count_, int deaths_ = 0>
struct Scenario : rl::test_suite<Derived, thread_count_> {
  static constexpr int thread_count = thread_count_;
  static constexpr int deaths = deaths_;
  static_assert(thread_count <= Kernel::max_threads);

  // Derived has an array of them, `roles`: one a thread; the last one is that of all further threads.
  struct Role {
    const char* name;
    void (Derived::*play)();
  };

  Scenario() {
    kernel.deaths_left = deaths;
    constexpr int role_count = static_cast<int>(std::size(Derived::roles));
    for (int i = 0; i < thread_count; ++i) {
      kernel.threads[i].become(role(i).name, i + 1);
      const int repeats = i - (role_count - 1);  // of the last role
      const std::size_t length = std::strlen(kernel.threads[i].name);
      if (repeats > 0 || (role_count == 1 && thread_count > 1))
        std::snprintf(kernel.threads[i].name + length, sizeof kernel.threads[i].name - length, " %d",
                      repeats + 1);
    }
  }

  // Called by Relacy.
  void thread(unsigned index) {
    // A jump and not an exception: several times faster, and Relacy's threads share what the runtime keeps of
    // exceptions.
    if (_setjmp(kernel.me().end_of_role) == 0)
      (static_cast<Derived&>(*this).*role(static_cast<int>(index)).play)();
    kernel.exit_walk();
  }
  void after() {
    kernel.me().become("newcomer", thread_count + 1);
    kernel.me().immortal = true;
    static_cast<Derived&>(*this).at_the_end();
  }

  /// When all threads have ended: the last account, by a newcomer.
  void at_the_end() {}

  Kernel kernel;

 private:
  static const Role& role(int index) {
    return Derived::roles[std::min(index, static_cast<int>(std::size(Derived::roles)) - 1)];
  }
};

/// The lock is free, and the next one to try gets it.
inline void expect_usable(CheckedLock& lock) {
  expect(lock.acquire(Deadline::passed) != heirlock_not_acquired,
         "all threads have ended, and the lock is not to be had");
}

// --- Rows: a scenario, and how it is searched

struct Row {
  const char* label;
  int threads, deaths;
  Search quick, full;
  std::function<rl::test_result_e(rl::test_params&)> run;
  // What no execution has shown, of what some must; empty: nothing.
  std::function<std::string()> missing = [] { return std::string(); };
};

template <class S>
rl::test_result_e run_in_relacy(rl::test_params& params) {
  rl::ostringstream state;
  return rl::run_test<S, Scheduler<S::params::thread_count>>(params, state, false);
}

template <class S>
Row row(const char* label, Search quick, Search full) {
  return {label, S::thread_count, S::deaths, quick, full, &run_in_relacy<S>};
}
template <class S>
Row row(const char* label, Search quick) {
  return row<S>(label, quick, quick);
}

/// Runs the rows as the command line says. Returns the status of the program: 0 if all held.
int explore(int argc, char** argv, const std::vector<Row>& rows);

}  // namespace heirlock::verify
#endif
