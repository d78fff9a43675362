// What a fuzz target is made of: choices read from the input, and claims that end the run when they are
// false.
#ifndef HEIRLOCK_FUZZ_SUPPORT_INPUT_HPP
#define HEIRLOCK_FUZZ_SUPPORT_INPUT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

/// What libFuzzer calls, and what the replay programs call (support/replay.cpp). Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

/// The bytes of one input, from front to back. Past the end there are only zeros, so that every input is
/// whole.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

  bool is_empty() const { return left_ == 0; }

  /// The next bytes as one number, or as whatever else is trivial.
  template <class T = std::uint8_t>
  T take() {
    T value{};
    fill(&value, sizeof value);
    return value;
  }

  /// One of 0 to n - 1, by one byte; by none where there is no choice.
  unsigned choose(unsigned n) { return n < 2 ? 0 : take() % n; }

  /// The next `size` bytes.
  void fill(void* to, std::size_t size) {
    std::memset(to, 0, size);
    const std::size_t there = std::min(size, left_);
    if (there == 0) return;
    std::memcpy(to, at_, there);
    at_ += there;
    left_ -= there;
  }

  /// All that is left.
  std::string_view rest() {
    const std::string_view text(reinterpret_cast<const char*>(at_), left_);
    left_ = 0;
    return text;
  }

 private:
  const std::uint8_t* at_;
  std::size_t left_;
};

/// Ends the program when what must be true is not, so that the input counts as a finding.
inline void require(bool is_true, const char* claim) {
  if (is_true) return;
  std::fprintf(stderr, "fuzz: found this to be false: %s\n", claim);
  std::abort();
}

}  // namespace fuzz
#endif
