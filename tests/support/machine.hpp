// What a tracer must know of the processor: x86-64 and arm64.
#ifndef HEIRLOCK_TESTS_SUPPORT_MACHINE_HPP
#define HEIRLOCK_TESTS_SUPPORT_MACHINE_HPP

#include <sys/types.h>

#include <cstdint>

namespace support {

/// Of a traced process that has stopped.
std::uintptr_t next_instruction(pid_t process);
/// Whether that is an atomic compare-exchange, or begins one.
bool is_about_to_exchange(pid_t process);
/// Whether the caller's code makes a system call there.
bool is_system_call(std::uintptr_t address);

/// Lets it execute one instruction and stop. Two things count as nothing, as they might never end if they
/// were stepped through: telling the time, in the kernel's own code; and all from an exclusive load to its
/// store.
void resume_for_a_step(pid_t process);
/// Stops it before it executes the instruction at this address; 0 is none. No instruction is replaced: it is
/// the processor's own.
void set_breakpoint(pid_t process, std::uintptr_t address);
#if defined(__aarch64__)
inline constexpr bool is_stopped_again_by_its_breakpoint = true;
#else
inline constexpr bool is_stopped_again_by_its_breakpoint = false;
#endif

}  // namespace support
#endif
