// The options of a subcommand.
#ifndef HEIRLOCK_COMMAND_ARGUMENTS_HPP
#define HEIRLOCK_COMMAND_ARGUMENTS_HPP

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace command {

/// Reads what follows the subcommand's name: options, each with its value if it takes one, and `fewest` to
/// `most` names.
struct Option {
  const char* name;    // "--json"
  std::string* value;  // null if it takes none
  bool* is_given;      // may be null
};
/// Prints the help, or what is wrong, and returns the exit status; none if the subcommand is to go on.
std::optional<int> read_arguments(int count, char** arguments, const std::string& usage,
                                  const std::vector<Option>& options, std::size_t fewest, std::size_t most,
                                  std::vector<std::string>& names);

}  // namespace command
#endif
