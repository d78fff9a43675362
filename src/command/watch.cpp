#include <cstdio>

#include "command.hpp"

int command::watch(int, char**) {
  std::fputs("heirlock watch: not built yet\n", stderr);
  return wrong_usage;
}
