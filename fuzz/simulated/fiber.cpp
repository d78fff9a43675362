#include "simulated/fiber.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define HEIRLOCK_FUZZ_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#define HEIRLOCK_FUZZ_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define HEIRLOCK_FUZZ_ADDRESS_SANITIZER 0
#endif
#if HEIRLOCK_FUZZ_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// AddressSanitizer would clean up at every jump, as if it led out of functions for good.
#define UNWATCHED __attribute__((no_sanitize("address"), noinline))

namespace simulated {
namespace {

constexpr std::size_t stack_size = 64 * 1024;

// AddressSanitizer is told of each change of stacks: before it, of the stack to come; after it, that it came.
struct Stack {
  const void* bottom = nullptr;
  std::size_t size = 0;
};
Stack outer;
void before_change_to([[maybe_unused]] Stack stack) {
#if HEIRLOCK_FUZZ_ADDRESS_SANITIZER
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack.bottom, stack.size);
#endif
}
void after_change([[maybe_unused]] Stack* from) {
#if HEIRLOCK_FUZZ_ADDRESS_SANITIZER
  Stack ignored;
  Stack& left = from != nullptr ? *from : ignored;
  __sanitizer_finish_switch_fiber(nullptr, &left.bottom, &left.size);
#endif
}

}  // namespace

Fiber* Fiber::running_ = nullptr;

UNWATCHED Fiber::Fiber()
    : stack_(mmap(nullptr, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  ucontext_t context;
  if (stack_ == MAP_FAILED || getcontext(&context) != 0) std::abort();
  context.uc_stack.ss_sp = stack_;
  context.uc_stack.ss_size = stack_size;
  context.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&context, reinterpret_cast<void (*)()>(first_entry), 2, static_cast<unsigned>(address >> 32),
              static_cast<unsigned>(address));
  if (HEIRLOCK_FUZZ_COMES_BACK(outside_) == 0) {
    before_change_to({stack_, stack_size});
    setcontext(&context);
    std::abort();
  }
  after_change(nullptr);
}

Fiber::~Fiber() {
  munmap(stack_, stack_size);
}

void Fiber::first_entry(unsigned high, unsigned low) {
  reinterpret_cast<Fiber*>(std::uintptr_t{high} << 32 | low)->run_jobs();
}

// Never returns, so that its frame stays for the next job to begin in.
UNWATCHED void Fiber::run_jobs() {
  if (HEIRLOCK_FUZZ_COMES_BACK(beginning_) == 0) {
    after_change(&outer);
    leave();
  }
  after_change(&outer);
  job_();
  has_job_ = false;
  leave();
}

UNWATCHED void Fiber::leave() {
  before_change_to(outer);
  HEIRLOCK_FUZZ_GO_BACK(outside_);
}

void Fiber::begin(std::function<void()> job) {
  job_ = std::move(job);
  has_job_ = true;
  std::memcpy(&place_, &beginning_, sizeof place_);  // an array on some systems
  go_on();
}

UNWATCHED void Fiber::go_on() {
  running_ = this;
  if (HEIRLOCK_FUZZ_COMES_BACK(outside_) == 0) {
    before_change_to({stack_, stack_size});
    HEIRLOCK_FUZZ_GO_BACK(place_);
  }
  after_change(nullptr);
  running_ = nullptr;
}

void Fiber::abandon() {
  has_job_ = false;
#if HEIRLOCK_FUZZ_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(stack_, stack_size);  // what the abandoned frames had fenced off
#endif
}

UNWATCHED void Fiber::pause() {
  Fiber& me = *running_;
  if (HEIRLOCK_FUZZ_COMES_BACK(me.place_) == 0) me.leave();
  after_change(&outer);
}

}  // namespace simulated
