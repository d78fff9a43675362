// The command line of heirlock-stress.
#ifndef HEIRLOCK_TESTS_STRESS_OPTIONS_HPP
#define HEIRLOCK_TESTS_STRESS_OPTIONS_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace stress {

inline constexpr std::uint32_t most_processes = 512;
inline constexpr std::uint32_t most_threads = 64;
inline constexpr std::uint32_t most_accounts = 65536;

struct Options {
  std::uint32_t processes = 8;
  std::uint32_t threads = 2;
  double seconds = 10;
  double kills_per_second = 50;
  std::uint32_t accounts = 100;
  std::optional<std::uint64_t> seed;  // none: choose one
  std::string json;                   // empty: write none
};

/// --help was asked for.
struct Help {};

/// What is wrong with the command line, in one line of printable characters.
struct Mistake {
  std::string message;
};

/// Reads the arguments, without the program's name. Touches nothing but them.
std::variant<Options, Help, Mistake> parse_options(const std::vector<std::string_view>& arguments);

std::string help_text();

}  // namespace stress
#endif
