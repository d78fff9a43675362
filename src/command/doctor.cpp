#include <cstdio>

#include "command.hpp"

int command::doctor(int, char**) {
  std::fputs("heirlock doctor: not built yet\n", stderr);
  return wrong_usage;
}
