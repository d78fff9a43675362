#include "support/machine.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#if defined(__aarch64__)
#include <asm/ptrace.h>
#elif !defined(__x86_64__)
#error "this processor is neither x86-64 nor arm64; say here how to step through its code"
#endif

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace support {
namespace {

void require(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "%s of a traced child failed: %s\n", what, std::strerror(errno));
  std::abort();
}

// The code that the kernel maps into every process to tell the time. It begins anew if a tick falls into it.
bool is_the_kernels(std::uintptr_t address) {
  Dl_info found{};
  return dladdr(reinterpret_cast<void*>(address), &found) != 0 && std::strstr(found.dli_fname, "linux-vdso");
}

void run_to(pid_t process, std::uintptr_t address) {
  set_breakpoint(process, address);
  ptrace(PTRACE_CONT, process, nullptr, nullptr);
  require(waitpid(process, nullptr, 0) == process, "waitpid");
  set_breakpoint(process, 0);
}

}  // namespace

#if defined(__x86_64__)

namespace {

user_regs_struct registers_of(pid_t process) {
  user_regs_struct registers{};
  require(ptrace(PTRACE_GETREGS, process, nullptr, &registers) == 0, "ptrace(PTRACE_GETREGS)");
  return registers;
}
std::uintptr_t return_address(pid_t process) {  // of a function that is about to begin
  return static_cast<std::uintptr_t>(ptrace(PTRACE_PEEKDATA, process, registers_of(process).rsp, nullptr));
}

}  // namespace

std::uintptr_t next_instruction(pid_t process) {
  return registers_of(process).rip;
}

bool is_about_to_exchange(pid_t process) {
  const long text = ptrace(PTRACE_PEEKTEXT, process, next_instruction(process), nullptr);
  unsigned char bytes[sizeof text];
  std::memcpy(bytes, &text, sizeof text);
  // lock, perhaps a prefix for wide or high registers, cmpxchg
  const unsigned char* const code = (bytes[1] & 0xf0) == 0x40 ? bytes + 2 : bytes + 1;
  return bytes[0] == 0xf0 && code[0] == 0x0f && code[1] == 0xb1;
}

bool is_system_call(std::uintptr_t address) {
  return std::memcmp(reinterpret_cast<const void*>(address), "\x0f\x05", 2) == 0;
}

void resume_for_a_step(pid_t process) {
  if (is_the_kernels(next_instruction(process))) run_to(process, return_address(process));
  ptrace(PTRACE_SINGLESTEP, process, nullptr, nullptr);
}

void set_breakpoint(pid_t process, std::uintptr_t address) {
  constexpr std::size_t registers = offsetof(user, u_debugreg);
  constexpr unsigned long on = 1;
  require(ptrace(PTRACE_POKEUSER, process, registers, address) == 0, "setting a breakpoint");
  require(ptrace(PTRACE_POKEUSER, process, registers + 7 * sizeof(long), address != 0 ? on : 0) == 0,
          "switching a breakpoint");
}

#elif defined(__aarch64__)

namespace {

user_regs_struct registers_of(pid_t process) {
  user_regs_struct registers{};
  iovec all{&registers, sizeof registers};
  require(ptrace(PTRACE_GETREGSET, process, NT_PRSTATUS, &all) == 0, "ptrace(PTRACE_GETREGSET)");
  return registers;
}
std::uint32_t instruction_at(pid_t process, std::uintptr_t address) {
  return static_cast<std::uint32_t>(ptrace(PTRACE_PEEKTEXT, process, address, nullptr));
}
bool is_exclusive_load(std::uint32_t instruction) {
  return (instruction & 0x3fe00000) == 0x08400000;
}
bool is_exclusive_store(std::uint32_t instruction) {
  return (instruction & 0x3fe00000) == 0x08000000;
}

}  // namespace

std::uintptr_t next_instruction(pid_t process) {
  return registers_of(process).pc;
}

bool is_about_to_exchange(pid_t process) {
  const std::uint32_t instruction = instruction_at(process, next_instruction(process));
  return (instruction & 0x3fa07c00) == 0x08a07c00 || is_exclusive_load(instruction);  // cas, or a pair
}

bool is_system_call(std::uintptr_t address) {
  return std::memcmp(reinterpret_cast<const void*>(address), "\x01\x00\x00\xd4", 4) == 0;
}

void resume_for_a_step(pid_t process) {
  std::uintptr_t at = next_instruction(process);
  if (is_the_kernels(at)) {
    run_to(process, registers_of(process).regs[30]);  // it is about to begin, and returns there
  } else if (is_exclusive_load(instruction_at(process, at))) {
    while (!is_exclusive_store(instruction_at(process, at))) at += 4;
    run_to(process, at + 8);  // behind the jump back, whither a comparison that fails leads as well
  }
  ptrace(PTRACE_SINGLESTEP, process, nullptr, nullptr);
}

void set_breakpoint(pid_t process, std::uintptr_t address) {
  constexpr std::uint32_t on = 1, of_users = 2 << 1, of_four_bytes = 0xf << 5;
  user_hwdebug_state state{};
  state.dbg_regs[0].addr = address;
  state.dbg_regs[0].ctrl = address != 0 ? on | of_users | of_four_bytes : 0;
  iovec first{&state, offsetof(user_hwdebug_state, dbg_regs) + sizeof state.dbg_regs[0]};
  require(ptrace(PTRACE_SETREGSET, process, NT_ARM_HW_BREAK, &first) == 0, "setting a breakpoint");
}

#endif

}  // namespace support
