// What the kernel has mapped.
#ifndef HEIRLOCK_TESTS_SUPPORT_MAPPING_HPP
#define HEIRLOCK_TESTS_SUPPORT_MAPPING_HPP

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace support {

/// Whether the page that holds this address is mapped in the calling process.
inline bool is_mapped(const void* address) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  void* const start = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) & ~(page - 1));
  unsigned char resident = 0;
  return mincore(start, 1, &resident) == 0;
}

/// How many files of /dev/shm the calling process has mapped, those without a name among them.
inline int segment_mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find(" /dev/shm/") != std::string::npos ? 1 : 0;
  return count;
}

}  // namespace support
#endif
