// The command line of heirlock-stress.
#ifndef HEIRLOCK_TESTS_STRESS_OPTIONS_HPP
#define HEIRLOCK_TESTS_STRESS_OPTIONS_HPP

#include <cstdint>
#include <string>

#include "stress/faults.hpp"
#include "stress/lock.hpp"

namespace stress {

inline constexpr std::uint32_t most_processes = 512;
inline constexpr std::uint32_t most_threads = 64;
inline constexpr std::uint32_t most_threads_in_all = 4096;
inline constexpr std::uint32_t most_accounts = 65536;
inline constexpr std::uint32_t most_locks = 64;

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
  std::uint64_t seed = 0;
  std::string command;  // that runs the same again
};

/// Chooses a random seed if none is given. Ends the program with status 0 after --help, and with status 2 and
/// one line on standard error after a bad option.
Options read_options(int argc, char** argv);

}  // namespace stress
#endif
