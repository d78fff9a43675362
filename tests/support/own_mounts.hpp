// Processes with mounts of their own, so that they can have another /dev/shm or /proc than everybody else.
#ifndef HEIRLOCK_TESTS_SUPPORT_OWN_MOUNTS_HPP
#define HEIRLOCK_TESTS_SUPPORT_OWN_MOUNTS_HPP

namespace support {

/// What the calling process mounts from now on, nobody else sees. Returns false where that is not permitted.
bool enter_own_mounts();

/// Mounts a new tmpfs.
bool mount_tmpfs(const char* directory, const char* options, unsigned long flags = 0);

/// Whether this system permits both.
bool can_have_own_mounts();

}  // namespace support
#endif
