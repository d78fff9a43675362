#include "support/own_mounts.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "support/party.hpp"

namespace support {

bool enter_own_mounts() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
  if (user != 0) {
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  }
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

bool mount_tmpfs(const char* directory, const char* options, unsigned long flags) {
  return mount("tmpfs", directory, "tmpfs", flags, options) == 0;
}

bool can_have_own_mounts() {
  InSharedMemory<bool> permitted{false};
  Party(As::process, [&] { *permitted = enter_own_mounts() && mount_tmpfs("/dev/shm", "size=64k"); }).join();
  return *permitted;
}

}  // namespace support
