// The progress line on a terminal.
#ifndef HEIRLOCK_TESTS_STRESS_DISPLAY_HPP
#define HEIRLOCK_TESTS_STRESS_DISPLAY_HPP

#include <cstddef>
#include <string>

namespace stress {

/// One line on standard output that is written over again. Does nothing where that is no terminal.
class Display {
 public:
  Display();
  bool is_visible() const { return is_terminal_; }
  void show(std::string line);
  /// Takes the line away.
  void clear();

 private:
  const bool is_terminal_;
  std::size_t shown_ = 0;  // how many characters
};

}  // namespace stress
#endif
