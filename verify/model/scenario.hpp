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
//   const Check check(__FILE__, {row<the_claim_in_a_few_words>("one may die", every_execution())});
//
//   }  // namespace
#ifndef HEIRLOCK_VERIFY_MODEL_SCENARIO_HPP
#define HEIRLOCK_VERIFY_MODEL_SCENARIO_HPP

#include <new>

#include "model/platform.hpp"

namespace heirlock::verify {

// A lock, with an account of who must own it, how deep, and whether the next owner must inherit. Each
// operation is checked against the account.
class CheckedLock final : public Watcher {
 public:
  CheckedLock(Kernel& kernel, const char* name);
  ~CheckedLock();
  CheckedLock(const CheckedLock&) = delete;
  CheckedLock& operator=(const CheckedLock&) = delete;

  Outcome acquire(Deadline deadline = Deadline::never);
  void release();
  void repaired();
  void abandon();
  bool is_held() const { return owner_ != nullptr; }
  /// For a death that the kernel is made to miss, or a flag that is set by hand.
  void owner_died() override {
    owner_ = nullptr;
    must_inherit_ = true;
  }

  Lock memory;

 private:
  static void expect_done(Outcome outcome);
  void tell(const char* what);

  const char* const name_;
  const ModelThread* owner_ = nullptr;
  std::uint32_t depth_ = 0;
  bool must_inherit_ = false;
};

// What a lock protects. Two accesses that no order separates are a data race, which Relacy reports.
class Data {
 public:
  Data();
  ~Data();
  /// Changes it in two steps, between which the thread may die and leave it half-written.
  void change();
  int read() const;

 private:
  rl::var<int> value_;
};

// What Relacy runs. It is the same type for all scenarios, as Relacy's templates take long to compile.
class AnyScenario {
 public:
  virtual ~AnyScenario() = default;
  virtual void thread(unsigned index) = 0;
  /// When all threads have ended.
  virtual void after() = 0;
  /// Between any two steps.
  virtual void invariant() {}
};

template <class Derived, int thread_count_, int deaths_ = 0>
struct Scenario : AnyScenario {
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
      if (telling && (repeats > 0 || (role_count == 1 && thread_count > 1)))
        std::snprintf(kernel.threads[i].name + length, sizeof kernel.threads[i].name - length, " %d",
                      repeats + 1);
    }
  }

  void thread(unsigned index) override {
    // A jump and not an exception: several times faster, and Relacy's threads share what the runtime keeps of
    // exceptions.
    if (_setjmp(kernel.me().end_of_role) == 0)
      (static_cast<Derived&>(*this).*role(static_cast<int>(index)).play)();
    kernel.exit_walk();
  }
  void after() override {
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
void expect_usable(CheckedLock& lock);

// --- Rows: a scenario, and how it is searched

struct Row {
  const char* label;
  int threads, deaths;
  Search quick, full;
  AnyScenario* (*construct)(void* at);
  // Called before the search; empty: nothing.
  std::function<void()> prepare = [] {};
  // What no execution has shown, of what some must; empty: nothing.
  std::function<std::string()> missing = [] { return std::string(); };
};

constexpr std::size_t largest_scenario = 4096;

template <class S>
Row row(const char* label, Search quick, Search full) {
  static_assert(sizeof(S) <= largest_scenario);
  return {
      label, S::thread_count, S::deaths, quick, full, [](void* at) -> AnyScenario* { return new (at) S; }};
}
template <class S>
Row row(const char* label, Search quick) {
  return row<S>(label, quick, quick);
}

/// Makes the rows known to the program, under the name of their file.
struct Check {
  Check(const char* file, const std::vector<Row>& rows);
};

}  // namespace heirlock::verify
#endif
