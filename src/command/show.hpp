// The lock that a user means, for `show` and `watch`.
#ifndef HEIRLOCK_COMMAND_SHOW_HPP
#define HEIRLOCK_COMMAND_SHOW_HPP

#include "output.hpp"

namespace command {

Wanted wanted(const std::string& name, const std::optional<std::uint64_t>& offset);
std::vector<const Lock*> locks_of(const Picture& picture, const Wanted& wanted);

}  // namespace command
#endif
