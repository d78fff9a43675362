// What heirlock-bench-parties is told on its command line.
#ifndef HEIRLOCK_TESTS_BENCH_OPTIONS_HPP
#define HEIRLOCK_TESTS_BENCH_OPTIONS_HPP

#include <string>

#include "bench/party.hpp"
#include "support/clock.hpp"

namespace bench {

enum class Pinned { no, same, apart };

struct Options {
  std::string measured;  // the case
  std::string lock;
  Kind kind = Kind::processes;
  int parties = 2;
  Nanoseconds section = 0;
  Nanoseconds outside = 0;
  double steps_per_microsecond = 0;  // of Work; measured unless it is given
  double seconds = 0.3;
  int times = 0;  // as many as the case likes
  Pinned pinned = Pinned::no;
};

inline const char* in_words(Pinned pinned) {
  return pinned == Pinned::no ? "no" : pinned == Pinned::same ? "same" : "apart";
}
inline const char* in_words(Kind kind) {
  return kind == Kind::processes ? "processes" : "threads";
}

/// Puts a party where it belongs.
void place(Pinned pinned, int index);

/// Ends the program with its help (status 0), or with what is wrong (status 2).
Options parse_options(int count, char** arguments);
[[noreturn]] void refuse(const std::string& found_and_expected);

}  // namespace bench
#endif
