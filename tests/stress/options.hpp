// The command line of heirlock-stress.
#ifndef HEIRLOCK_TESTS_STRESS_OPTIONS_HPP
#define HEIRLOCK_TESTS_STRESS_OPTIONS_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stress/faults.hpp"

namespace stress {

inline constexpr std::uint32_t most_processes = 512;
inline constexpr std::uint32_t most_threads = 64;
inline constexpr std::uint32_t most_accounts = 65536;
inline constexpr std::uint32_t most_locks = 64;

/// Which lock the load is run on: heirlock's, or one of those that people use instead.
enum class LockKind { heirlock, pthread_robust, pthread, sem };
inline constexpr std::string_view lock_names[] = {"heirlock", "pthread-robust", "pthread", "sem"};

struct Options {
  std::uint32_t processes = 8;
  std::uint32_t threads = 2;
  double seconds = 10;
  double kills_per_second = 50;
  Faults faults = only(Fault::kill);
  double faults_per_second = 20;  // of those other than kills, together
  std::uint32_t locks = 1;
  LockKind lock = LockKind::heirlock;
  std::uint32_t accounts = 100;
  std::optional<std::uint64_t> seed;  // none: choose one
  std::string json;                   // empty: write none
  bool plan = false;                  // only show which faults there would be
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
