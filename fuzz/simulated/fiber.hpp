// A thread of control that goes on only when it is told to: what is simulated runs in one thread.
#ifndef HEIRLOCK_FUZZ_SIMULATED_FIBER_HPP
#define HEIRLOCK_FUZZ_SIMULATED_FIBER_HPP

#include <setjmp.h>

#include <cstddef>
#include <functional>

namespace simulated {

// ucontext(3) begins a stack, but enters the kernel at each switch; setjmp does not. Nor does
// AddressSanitizer, which enters it at each longjmp, where the compiler has it built in and uses it between
// stacks as between functions: clang does.
#if defined(__clang__) && defined(__x86_64__)
struct Place {
  void* registers[5];
};
#define HEIRLOCK_FUZZ_COMES_BACK(place) __builtin_setjmp((place).registers)
#define HEIRLOCK_FUZZ_GO_BACK(place) __builtin_longjmp((place).registers, 1)
#else
struct Place {
  jmp_buf registers;
};
#define HEIRLOCK_FUZZ_COMES_BACK(place) _setjmp((place).registers)
#define HEIRLOCK_FUZZ_GO_BACK(place) _longjmp((place).registers, 1)
#endif

class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// Begins the job. Returns when it pauses or has ended. There was none, or it had ended or was abandoned.
  void begin(std::function<void()> job);
  /// Goes on with it. Returns when it pauses again or has ended.
  void go_on();
  /// Never goes on with it: no destructor of what it has on its stack runs.
  void abandon();
  bool has_job() const { return has_job_; }

  /// For a job: pauses. Not while an exception is being handled, whose record all fibers share.
  static void pause();

 private:
  static void first_entry(unsigned high, unsigned low);
  void run_jobs();
  void leave();

  static Fiber* running_;

  void* const stack_;
  std::function<void()> job_;
  bool has_job_ = false;
  Place beginning_{};  // of a job
  Place place_{};      // where the job pauses
  Place outside_{};    // who is told when it does
};

}  // namespace simulated
#endif
