// What a test sees of a lock beneath its interface: its fields, its bytes, and who the caller is.
#ifndef HEIRLOCK_TESTS_SUPPORT_LOCK_PROBE_HPP
#define HEIRLOCK_TESTS_SUPPORT_LOCK_PROBE_HPP

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "heirlock/reentrant_lock.hpp"

namespace support {

/// The lock's fields, to read and to set.
inline heirlock::detail::LinuxLock& fields_of(heirlock::ReentrantLock& lock) {
  return reinterpret_cast<heirlock::detail::LinuxLock&>(lock);
}

inline std::uint32_t word_of(heirlock::ReentrantLock& lock) {
  return fields_of(lock).word.load(heirlock::detail::Order::relaxed);
}

inline void set_word(heirlock::ReentrantLock& lock, std::uint32_t word) {
  fields_of(lock).word.store(word, heirlock::detail::Order::relaxed);
}

/// All 40 bytes, to be compared. Nobody else may be using the lock.
using LockBytes = std::array<unsigned char, sizeof(heirlock::ReentrantLock)>;
inline LockBytes bytes_of(const heirlock::ReentrantLock& lock) {
  LockBytes bytes;
  std::memcpy(bytes.data(), &lock, sizeof lock);
  return bytes;
}

/// The calling thread's id, asked of the kernel each time.
inline std::uint32_t my_tid() {
  return static_cast<std::uint32_t>(syscall(SYS_gettid));
}

/// Whether the lock shows the calling thread's own id, as the lock that it owns does. Nobody can guess it but
/// libFuzzer, which looks at what is compared.
inline bool shows_callers_id(heirlock::ReentrantLock& lock) {
  return fields_of(lock).owner_id.load(heirlock::detail::Order::relaxed) ==
         heirlock::detail::this_thread_record.id;
}

/// A thread notes locks whose last wake-up found nobody, by their address, which an earlier test's lock may
/// have had. Makes the calling thread forget them.
inline void forget_quiet_locks() {
  for (const void*& lock : heirlock::detail::this_thread_record.quiet) lock = nullptr;
}

/// Few failed tries, drawn at random, ask after the owner. Makes the calling thread's next one do so.
inline void let_the_next_try_ask() {
  heirlock::detail::LinuxThread& me = heirlock::detail::this_thread_record;
  for (heirlock::detail::LinuxThread next = me; !heirlock::detail::LinuxPlatform::asks_this_time(next);)
    me.last_draw = next.last_draw;
}

}  // namespace support
#endif
