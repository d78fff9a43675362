#include "support/forbidden_call.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <iterator>

#include "support/party.hpp"

namespace support {

bool forbid(long number, Where where, int error) {
  constexpr std::uint32_t number_of_call = offsetof(seccomp_data, nr);
  const auto argument =
      static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8 * where.argument);  // its lower half
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number_of_call),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, where.mask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, where.value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool can_forbid() {
  InSharedMemory<bool> permitted{false};
  Party(As::process, [&] { *permitted = forbid(-1); }).join();
  return *permitted;
}

}  // namespace support
