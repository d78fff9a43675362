#include <cstdio>

#include "command.hpp"

int command::remove(int, char**) {
  std::fputs("heirlock remove: not built yet\n", stderr);
  return wrong_usage;
}
