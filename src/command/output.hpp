// How a picture is shown: as a table, in words, as JSON.
#ifndef HEIRLOCK_COMMAND_OUTPUT_HPP
#define HEIRLOCK_COMMAND_OUTPUT_HPP

#include <time.h>

#include <cstdint>
#include <string>
#include <vector>

#include "picture.hpp"

namespace command {

/// Appends as printf.
void say(std::string& text, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// As a string of JSON, byte by byte.
std::string quoted(const std::string& text);

/// On a terminal no byte of a file's or a command's name may be more than a character.
std::string printable(const std::string& text);

std::int64_t seconds_of(clockid_t clock);

struct Column;
/// The columns that a list such as "NAME,OWNER" names; empty, with a message on standard error, if one is
/// unknown.
std::vector<const Column*> columns(const std::string& list);
extern const char default_columns[];
std::string names_of_columns();

/// The locks of this user, of all as root.
std::vector<const Lock*> own_locks(const Picture& picture);

std::string table(const Picture& picture, const std::vector<const Lock*>& locks,
                  const std::vector<const Column*>& columns);
std::string json(const Picture& picture, const std::vector<const Lock*>& locks);
/// All that is known of one lock, and what its user can do.
std::string words(const Picture& picture, const Lock& lock);
/// A line for each deadlock in which one of the locks has a part.
std::string deadlocks(const Picture& picture, const std::vector<const Lock*>& locks);
/// What could not be seen, a line each.
std::vector<std::string> unseen(const Picture& picture, const std::vector<const Lock*>& locks);

}  // namespace command
#endif
