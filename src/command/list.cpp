#include <cstdio>

#include "arguments.hpp"
#include "command.hpp"
#include "output.hpp"

namespace command {

int list(int count, char** arguments) {
  std::string chosen = default_columns;
  bool as_json = false;
  std::vector<std::string> names;
  const std::string usage =
      "usage: heirlock list [--json] [--output COLUMNS]\n\n"
      "Lists your named locks and their deadlocks. Root sees the locks of all users. If an object contains\n"
      "several locks, only those that are held or waited for are listed. COLUMNS is a list such as "
      "NAME,OWNER\n"
      "of these:\n\n" +
      names_of_columns();
  if (const auto status =
          read_arguments(count, arguments, usage,
                         {{"--json", nullptr, &as_json}, {"--output", &chosen, nullptr}}, 0, 0, names))
    return *status;
  const std::vector<const Column*> shown = columns(chosen);
  if (shown.empty()) return wrong_usage;
  const Picture picture = look({});
  const std::vector<const Lock*> locks = own_locks(picture);
  const std::string text =
      as_json ? json(picture, locks) : table(picture, locks, shown) + deadlocks(picture, locks);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  for (const std::string& note : unseen(picture, locks)) std::fprintf(stderr, "heirlock: %s\n", note.c_str());
  return picture.trouble.empty() ? done : failed;
}

}  // namespace command
