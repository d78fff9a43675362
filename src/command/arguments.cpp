#include "arguments.hpp"

#include <cstdio>

#include "command.hpp"

namespace command {

std::optional<int> read_arguments(int count, char** arguments, const std::string& usage,
                                  const std::vector<Option>& options, std::size_t fewest, std::size_t most,
                                  std::vector<std::string>& names) {
  const auto complain = [&](const std::string& what) {
    std::fprintf(stderr, "heirlock %s: %s; see heirlock %s --help\n", arguments[0], what.c_str(),
                 arguments[0]);
    return wrong_usage;
  };
  bool all_are_names = false;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (all_are_names || argument.empty() || argument[0] != '-') {
      names.push_back(argument);
      continue;
    }
    if (argument == "--") {
      all_are_names = true;
      continue;
    }
    if (argument == "--help" || argument == "-h") {
      std::fputs(usage.c_str(), stdout);
      return done;
    }
    const std::size_t equals = argument.find('=');
    const Option* found = nullptr;
    for (const Option& option : options)
      if (argument.substr(0, equals) == option.name) found = &option;
    if (found == nullptr || (found->value == nullptr && equals != argument.npos))
      return complain("there is no option '" + argument + "'");
    if (found->is_given != nullptr) *found->is_given = true;
    if (found->value == nullptr) continue;
    if (equals == argument.npos && ++i == count) return complain(argument + " needs a value");
    *found->value = equals != argument.npos ? argument.substr(equals + 1) : arguments[i];
  }
  if (names.size() < fewest) return complain("a name is missing");
  if (names.size() > most) return complain("'" + names[most] + "' is one argument too many");
  return std::nullopt;
}

}  // namespace command
