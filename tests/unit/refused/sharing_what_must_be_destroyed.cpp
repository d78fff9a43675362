// Spec: shared.shareable
#include <string>

#include "heirlock/shared.hpp"

heirlock::Shared<std::string> text;
