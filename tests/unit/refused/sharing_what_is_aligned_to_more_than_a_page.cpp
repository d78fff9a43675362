// Spec: shared.shareable
#include "heirlock/shared.hpp"

struct alignas(8192) Wide {};
heirlock::Shared<Wide> object;
