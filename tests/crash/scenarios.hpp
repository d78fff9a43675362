// What the victim does, and who is around it.
#ifndef HEIRLOCK_TESTS_CRASH_SCENARIOS_HPP
#define HEIRLOCK_TESTS_CRASH_SCENARIOS_HPP

#include <vector>

#include "run.hpp"

namespace crash {

std::vector<Scenario> all_scenarios();

}  // namespace crash
#endif
