#include <cstdio>

#include "command.hpp"

int command::show(int, char**) {
  std::fputs("heirlock show: not built yet\n", stderr);
  return wrong_usage;
}
