#include "bench/system_calls.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#if defined(__x86_64__)

// The only instructions that may make system calls while a thread counts: those of the handler, and of the
// return from it, which libc's own would make elsewhere.
asm(R"(
    .pushsection .text
heirlock_bench_calls_begin:
heirlock_bench_call:           # (number, six arguments) as in C, to what the kernel expects
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
    ret
heirlock_bench_return_from_handler:
    mov $15, %eax              # rt_sigreturn
    syscall
    ud2
heirlock_bench_calls_end:
    .popsection
)");

extern "C" {
extern const char heirlock_bench_calls_begin[];
extern const char heirlock_bench_calls_end[];
long heirlock_bench_call(long number, long a, long b, long c, long d, long e, long f);
void heirlock_bench_return_from_handler();
}

namespace bench {
namespace {

thread_local std::uint64_t calls = 0;

void on_system_call(int, siginfo_t*, void* context) {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  ++calls;
  registers[REG_RAX] =
      heirlock_bench_call(registers[REG_RAX], registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                          registers[REG_R10], registers[REG_R8], registers[REG_R9]);
}

// As the kernel has it: libc's sigaction() would put in its own return.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  unsigned long mask;
};
constexpr unsigned long with_restorer = 0x04000000;

long dispatch(long mode, const char* begin, const char* end) {
  return heirlock_bench_call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, mode, reinterpret_cast<long>(begin),
                             end - begin, 0, 0);
}

}  // namespace

SystemCallCounter::SystemCallCounter() {
  const KernelAction action = {on_system_call, SA_SIGINFO | with_restorer, heirlock_bench_return_from_handler,
                               0};
  heirlock_bench_call(SYS_rt_sigaction, SIGSYS, reinterpret_cast<long>(&action), 0, sizeof action.mask, 0, 0);
  calls = 0;
  if (dispatch(PR_SYS_DISPATCH_ON, heirlock_bench_calls_begin, heirlock_bench_calls_end) != 0)
    refusal_ = "the kernel has no syscall user dispatch (Linux 5.11)";
}

SystemCallCounter::~SystemCallCounter() {
  if (refusal_ == nullptr) dispatch(PR_SYS_DISPATCH_OFF, nullptr, nullptr);
}

std::uint64_t SystemCallCounter::count() const {
  return calls;
}

}  // namespace bench

#else

namespace bench {

SystemCallCounter::SystemCallCounter() : refusal_("system calls are counted on x86-64 only") {}
SystemCallCounter::~SystemCallCounter() = default;
std::uint64_t SystemCallCounter::count() const {
  return 0;
}

}  // namespace bench

#endif
