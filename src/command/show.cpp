#include "show.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "arguments.hpp"
#include "command.hpp"

namespace command {

Wanted wanted(const std::string& name, const std::optional<std::uint64_t>& offset) {
  const std::string path = segment_path("");
  if (name.find('/') == name.npos) return {name, offset};
  std::error_code error;
  const std::string found = std::filesystem::weakly_canonical(name, error);
  if (found.compare(0, path.size(), path) == 0) return {found.substr(path.size()), offset};
  return {name, offset.value_or(0)};
}

std::vector<const Lock*> locks_of(const Picture& picture, const Wanted& wanted) {
  std::vector<const Lock*> found;
  for (const Lock& lock : picture.locks) {
    const Segment& segment = picture.segments[lock.segment];
    const bool is_chosen = !wanted.offset || lock.offset == *wanted.offset || segment.is_removed;
    if (segment.name == wanted.name && is_chosen) found.push_back(&lock);
  }
  return found;
}

int show(int count, char** arguments) {
  std::string offset;
  bool as_json = false, has_offset = false;
  std::vector<std::string> names;
  if (const auto status =
          read_arguments(count, arguments,
                         "usage: heirlock show [--json] [--offset N] NAME\n\n"
                         "Says all that is known of a lock, and what you can do next. NAME is the name of a "
                         "segment, or the path of\n"
                         "a file with a lock in it. --offset N means the lock N bytes into the object or "
                         "file, see offsetof(3).\n",
                         {{"--json", nullptr, &as_json}, {"--offset", &offset, &has_offset}}, 1, 1, names))
    return *status;
  std::optional<std::uint64_t> at;
  if (has_offset) {
    char* end = nullptr;
    errno = 0;
    at = std::strtoull(offset.c_str(), &end, 0);
    if (offset.empty() || *end != '\0' || errno != 0 || offset[0] == '-' || *at % 8 != 0) {
      std::fprintf(stderr, "heirlock show: no lock can be at --offset %s; give a multiple of 8\n",
                   offset.c_str());
      return wrong_usage;
    }
  }
  const Wanted asked = wanted(names[0], at);
  const Picture picture = look(asked);
  const std::vector<const Lock*> locks = locks_of(picture, asked);
  if (locks.empty()) {
    std::fprintf(stderr, "heirlock show: there is no lock %s; see heirlock list\n", names[0].c_str());
    return failed;
  }
  if (const Segment& segment = picture.segments[locks[0]->segment]; segment.file.number == 0) {
    std::fprintf(stderr, "heirlock show: %s: %s\n", names[0].c_str(), segment.trouble.c_str());
    return failed;
  }
  if (as_json) {
    std::fputs(json(picture, locks).c_str(), stdout);
    return done;
  }
  for (const Lock* const lock : locks) std::fputs(words(picture, *lock).c_str(), stdout);
  std::fputs(deadlocks(picture, locks).c_str(), stdout);
  for (const std::string& note : unseen(picture, locks)) std::fprintf(stderr, "heirlock: %s\n", note.c_str());
  return done;
}

}  // namespace command
