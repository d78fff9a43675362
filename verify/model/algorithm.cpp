#include "model/platform.hpp"

heirlock::verify::Algorithm heirlock::verify::algorithm =
    algorithm_of<detail::LockAlgorithm<ModelPlatform>>();
