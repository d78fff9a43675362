// heirlock_property_run [PROGRAMS]: as many random programs, half of them without the backstop, half as
// shipped; says how it goes, and at the end what took place how often.
#include <rapidcheck.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "property/run.hpp"

namespace {

bool agrees(const std::string& name, property::Backstop backstop) {
  property::Tally tally;
  std::cout << name << std::endl;
  const bool all_well = rc::check([&] {
    const property::Program program = *property::any_program();
    const std::string story = property::run(program, backstop, &tally);
    if (!story.empty()) RC_FAIL(story);
    if (tally.programs() % 500 == 0) std::cout << "  " << tally.programs() << " programs" << std::endl;
  });
  std::cout << tally << std::endl;
  return all_well;
}

}  // namespace

int main(int argc, char** argv) {
  const int programs = argc == 1 ? 10'000 : std::atoi(argv[1]);
  if (programs < 2) {
    std::cerr << "heirlock_property_run: found '" << argv[1] << "', expected a number of programs, from 2\n";
    return 2;
  }
  setenv("RC_PARAMS", ("max_success=" + std::to_string(programs / 2)).c_str(), 0);
  const bool well_without = agrees("without the backstop:", property::Backstop::off);
  const bool well_with = agrees("as shipped:", property::Backstop::on);
  if (well_without && well_with) std::cout << "PASSED: every step of every program is as the model says\n";
  return well_without && well_with ? 0 : 1;
}
