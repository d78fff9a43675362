// Spec: shared.shareable
#include <string>

#include "heirlock/shared.hpp"

auto text = heirlock::Shared<std::string>::open("name");
