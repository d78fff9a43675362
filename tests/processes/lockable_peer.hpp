// What the program lockable_peer and the test that runs it have in common.
#ifndef HEIRLOCK_TESTS_PROCESSES_LOCKABLE_PEER_HPP
#define HEIRLOCK_TESTS_PROCESSES_LOCKABLE_PEER_HPP

#include <string>
#include <string_view>

#include "heirlock/lockable.hpp"

namespace peer {

// Commands.
inline constexpr char acquire = 'a';
inline constexpr char try_acquire = 't';
inline constexpr char release = 'r';
inline constexpr char increment = 'i';
inline constexpr int increments = 2000;

// Answers.
inline constexpr char acquired = 'A';
inline constexpr char recovered = 'R';  // acquired, after recover()
inline constexpr char busy = 'B';
inline constexpr char done = 'D';
inline constexpr char refused = 'X';

}  // namespace peer

/// A counter by name: its lock is the segment of this name, its number another.
class NamedCounter : public heirlock::Lockable {
 public:
  explicit NamedCounter(const std::string& name)
      : Lockable(std::string_view(name)), number_(heirlock::Shared<int>::open_or_create(number_of(name))) {}

  static std::string number_of(const std::string& name) { return name + ".number"; }

  void increment() {
    locked([&] { ++*number_; });
  }
  int number() {
    return locked([&] { return *number_; });
  }

  int recoveries = 0;

 private:
  void recover() override { ++recoveries; }

  heirlock::Shared<int> number_;
};

#endif
