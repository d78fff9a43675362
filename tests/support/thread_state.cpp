#include "support/thread_state.hpp"

#include <sys/syscall.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace support {

char state_of(pid_t tid) {
  std::ifstream file("/proc/" + std::to_string(tid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() ? '\0' : text[name_end + 2];
}

const void* futex_slept_on(pid_t tid) {
  std::ifstream file("/proc/" + std::to_string(tid) + "/syscall");
  long number = -1;
  std::uintptr_t address = 0;
  const bool is_futex = file >> std::dec >> number >> std::hex >> address && number == SYS_futex;
  return is_futex && state_of(tid) == 'S' ? reinterpret_cast<const void*>(address) : nullptr;
}

}  // namespace support
