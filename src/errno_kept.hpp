// For operations that must not change errno, whatever they ask of the system.
#ifndef HEIRLOCK_SRC_ERRNO_KEPT_HPP
#define HEIRLOCK_SRC_ERRNO_KEPT_HPP

#include <cerrno>

namespace heirlock::detail {

class ErrnoKept {
 public:
  ErrnoKept() = default;
  ErrnoKept(const ErrnoKept&) = delete;
  ErrnoKept& operator=(const ErrnoKept&) = delete;
  ~ErrnoKept() { errno = value_; }

 private:
  const int value_ = errno;
};

}  // namespace heirlock::detail
#endif
