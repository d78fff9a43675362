#include "heirlock/error.hpp"

#include <string>

#include "heirlock/detail/deadline.hpp"
#include "last_error.hpp"

namespace heirlock {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "heirlock"; }
  std::string message(int code) const override {
    const bool is_errc = code >= int(errc::recursion_too_deep) && code <= int(errc::not_trusted);
    return is_errc ? heirlock_text(-code) : "unknown error " + std::to_string(code);
  }
};

}  // namespace

const std::error_category& v0_1::error_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace heirlock

namespace heirlock::detail_v0_1 {

void throw_refusal(Outcome outcome) {
  const ErrnoKept errno_kept;
  const char* const message = last_error.message;
  if (outcome == heirlock_not_owner) throw AssertionError(message);
  if (outcome == heirlock_invalid_name) throw std::invalid_argument(message);
  if (last_error.system != 0) throw std::system_error(last_error.system, std::system_category(), message);
  throw std::system_error(static_cast<errc>(-static_cast<int>(outcome)), message);
}

void give_back_and_throw(LinuxLock& lock) {
  LockAlgorithm<LinuxPlatform>::release(lock);
  throw std::system_error(std::make_error_code(std::errc::owner_dead),
                          "heirlock: an owner died, so the data under the lock may be half-written; "
                          "acquire() the lock, repair the data, then call repaired()");
}

void throw_not_a_number() {
  throw std::invalid_argument("heirlock: the timeout is not a number; give a duration");
}

}  // namespace heirlock::detail_v0_1
