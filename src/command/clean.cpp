#include <cstdio>

#include "command.hpp"

int command::clean(int, char**) {
  std::fputs("heirlock clean: not built yet\n", stderr);
  return wrong_usage;
}
