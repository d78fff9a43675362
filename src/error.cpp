#include "heirlock/error.hpp"

#include <string>

namespace heirlock {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "heirlock"; }
  std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::recursion_too_deep:
        return "the lock is held 2^32-1 times already; release it first";
      case errc::foreign_pid_namespace:
        return "the lock belongs to another PID namespace; use one lock per namespace";
      case errc::unsupported_platform:
        return "this system lacks what the lock is built on";
      case errc::layout_mismatch:
        return "the segment holds something else; use another name, or remove it";
      case errc::not_trusted:
        return "somebody else owns or may write the segment; use another name, or remove it";
    }
    return "unknown error " + std::to_string(code);
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace heirlock
