// Shows a picture as a table, in words, or as JSON.
#ifndef HEIRLOCK_COMMAND_OUTPUT_HPP
#define HEIRLOCK_COMMAND_OUTPUT_HPP

#include <time.h>

#include <cstdint>
#include <string>
#include <vector>

#include "picture.hpp"

namespace command {

/// Appends to the text, as printf().
void say(std::string& text, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// As a JSON string, byte by byte.
std::string quoted(const std::string& text);

/// Replaces control characters, which a file's or command's name could send to the terminal.
std::string printable(const std::string& text);

std::int64_t seconds_of(clockid_t clock);

struct Column;
/// The columns in a list such as "NAME,OWNER". Empty, with a message on standard error, if one is unknown.
std::vector<const Column*> columns(const std::string& list);
extern const char default_columns[];
std::string names_of_columns();

/// The locks of this user; all locks for root.
std::vector<const Lock*> own_locks(const Picture& picture);

std::string table(const Picture& picture, const std::vector<const Lock*>& locks,
                  const std::vector<const Column*>& columns);
std::string json(const Picture& picture, const std::vector<const Lock*>& locks);
/// All that is known of one lock, and what the user can do next.
std::string words(const Picture& picture, const Lock& lock);
/// A line for each deadlock that involves one of the locks.
std::string deadlocks(const Picture& picture, const std::vector<const Lock*>& locks);
/// One note for each thing that this user cannot see.
std::vector<std::string> unseen(const Picture& picture, const std::vector<const Lock*>& locks);

}  // namespace command
#endif
