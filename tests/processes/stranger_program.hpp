// The path of the program in stranger.cpp, which lies beside the test program.
#ifndef HEIRLOCK_TESTS_PROCESSES_STRANGER_PROGRAM_HPP
#define HEIRLOCK_TESTS_PROCESSES_STRANGER_PROGRAM_HPP

#include <limits.h>
#include <unistd.h>

#include <string>

inline std::string path_of_stranger() {
  char own[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", own, sizeof own);
  if (length <= 0) return {};
  const std::string path(own, static_cast<std::size_t>(length));
  return path.substr(0, path.rfind('/') + 1) + "heirlock_test_stranger";
}

#endif
