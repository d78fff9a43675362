#include <sys/stat.h>

#include <cstdio>

#include "arguments.hpp"
#include "command.hpp"
#include "heirlock/heirlock.h"
#include "output.hpp"

namespace command {

int remove(int count, char** arguments) {
  std::vector<std::string> names;
  bool is_forced = false;
  if (const auto status = read_arguments(count, arguments,
                                         "usage: heirlock remove [--force] NAME\n\n"
                                         "Removes a segment that no process has mapped. A process that has "
                                         "it mapped would keep it, and would share no\n"
                                         "lock with processes that open the name later. So heirlock refuses "
                                         "to remove a segment that a process has or\n"
                                         "may have mapped. --force removes it nevertheless.\n",
                                         {{"--force", nullptr, &is_forced}}, 1, 1, names))
    return *status;
  if (!is_forced) {
    const Picture picture = look({});
    bool is_found = false;
    for (const Segment& segment : picture.segments) {
      if (segment.name != names[0] || segment.is_removed) continue;
      is_found = true;
      const std::string reason = printable(reason_to_keep(picture, segment, false));
      if (reason.empty()) continue;
      std::fprintf(stderr, "heirlock remove: %s is not removed: %s; %suse --force\n", names[0].c_str(),
                   reason.c_str(), segment.users.empty() ? "" : "end them first, or ");
      return failed;
    }
    struct stat status = {};
    if (!is_found && lstat(segment_path(names[0]).c_str(), &status) == 0) {
      std::fprintf(stderr,
                   "heirlock remove: %s is not removed: who has it mapped is unknown%s%s; use --force\n",
                   names[0].c_str(), picture.trouble.empty() ? "" : ", ", picture.trouble.c_str());
      return failed;
    }
  }
  if (heirlock_segment_remove(names[0].c_str()) == heirlock_done) return done;
  std::fprintf(stderr, "%s\n", heirlock_last_message());
  return failed;
}

}  // namespace command
