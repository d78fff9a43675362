// Spec: shared.shareable
#include <string>

#include "heirlock/shared.hpp"

struct alignas(4096) Wide {};
heirlock::Shared<Wide> wide;

template <>
struct heirlock::is_shareable<std::string> : std::true_type {};
heirlock::Shared<std::string> vouched_for;
