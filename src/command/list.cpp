#include <cstdio>

#include "command.hpp"

int command::list(int, char**) {
  std::fputs("heirlock list: not built yet\n", stderr);
  return wrong_usage;
}
