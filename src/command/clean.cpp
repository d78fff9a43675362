#include <cerrno>
#include <cstdio>
#include <cstring>

#include "arguments.hpp"
#include "command.hpp"
#include "heirlock/heirlock.h"
#include "output.hpp"

namespace command {

int clean(int count, char** arguments) {
  std::vector<std::string> names;
  bool is_dry = false, others_use_none = false;
  if (const auto status = read_arguments(
          count, arguments,
          "usage: heirlock clean [--dry-run] [--foreign]\n\n"
          "Removes every segment that no process has mapped. Prints each segment that stays, with the "
          "reason.\n"
          "  --dry-run  only print what would be removed\n"
          "  --foreign  also remove segments that processes in other PID namespaces might use. Use it when "
          "a\n"
          "             container restarts over an old /dev/shm that no other container shares.\n",
          {{"--dry-run", nullptr, &is_dry}, {"--foreign", nullptr, &others_use_none}}, 0, 0, names))
    return *status;
  const Picture picture = look({});
  int result = done;
  if (!picture.trouble.empty()) {
    std::fprintf(stderr, "heirlock clean: %s\n", picture.trouble.c_str());
    result = failed;
  }
  for (const Segment& segment : picture.segments) {
    if (segment.is_removed) continue;
    const std::string name = printable(segment.name);
    const std::string reason = printable(reason_to_keep(picture, segment, others_use_none));
    if (!reason.empty()) {
      std::printf("%s stays: %s\n", name.c_str(), reason.c_str());
    } else if (is_dry) {
      std::printf("%s would be removed\n", name.c_str());
    } else if (heirlock_segment_remove(segment.name.c_str()) == heirlock_done) {
      std::printf("%s was removed\n", name.c_str());
    } else if (heirlock_last_errno() != ENOENT) {
      std::printf("%s stays: %s\n", name.c_str(), std::strerror(heirlock_last_errno()));
    }
  }
  return result;
}

}  // namespace command
