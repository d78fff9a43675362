// heirlock-stress: see the help text in options.cpp.
#include <cstdio>
#include <exception>
#include <string_view>

#include "stress/options.hpp"
#include "stress/report.hpp"
#include "stress/supervisor.hpp"
#include "stress/worker.hpp"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[0]) == stress::name_after_exec) stress::after_exec(argv[1]);
  const stress::Options options = stress::read_options(argc, argv);
  try {
    stress::Supervisor supervisor(options);  // from here on a Ctrl-C ends the run with its report
    std::printf("%s\n", options.command.c_str());
    std::fflush(stdout);
    const stress::Result result = supervisor.run();
    std::fputs(stress::report(result).c_str(), stdout);
    return result.passed() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heirlock-stress: %s\n", error.what());
    return 2;
  }
}
