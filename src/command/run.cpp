#include <cstdio>

#include "command.hpp"

int command::run(int, char**) {
  std::fputs("heirlock run: not built yet\n", stderr);
  return wrong_usage;
}
