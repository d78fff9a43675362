// The options of a subcommand.
#ifndef HEIRLOCK_COMMAND_ARGUMENTS_HPP
#define HEIRLOCK_COMMAND_ARGUMENTS_HPP

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace command {

struct Option {
  const char* name;    // "--json"
  std::string* value;  // null if the option takes none
  bool* is_given;      // may be null
};
/// Reads the arguments of a subcommand: options, and `fewest` to `most` names. If they ask for help or are
/// wrong, prints that and returns the exit status; otherwise returns none.
std::optional<int> read_arguments(int count, char** arguments, const std::string& usage,
                                  const std::vector<Option>& options, std::size_t fewest, std::size_t most,
                                  std::vector<std::string>& names);

}  // namespace command
#endif
