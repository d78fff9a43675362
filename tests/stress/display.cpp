#include "stress/display.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace stress {
namespace {

// A line that wraps cannot be written over.
std::size_t width_of_terminal() {
  constexpr std::size_t usual = 80;
  winsize size{};
  const bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return is_known ? size.ws_col : usual;
}

}  // namespace

Display::Display() : is_terminal_(isatty(STDOUT_FILENO) == 1) {}

void Display::show(std::string line) {
  if (!is_terminal_) return;
  line.resize(std::min(line.size(), width_of_terminal() - 1));
  const std::size_t length = line.size();
  line.resize(std::max(length, shown_), ' ');
  std::printf("\r%s", line.c_str());
  std::fflush(stdout);
  shown_ = length;
}

void Display::clear() {
  if (shown_ == 0) return;
  show("");
  std::printf("\r");
  std::fflush(stdout);
}

}  // namespace stress
