#include <heirlock/heirlock.h>
#include <sysexits.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "command.hpp"

namespace {

constexpr char usage[] = R"(usage: heirlock COMMAND [OPTION...]

Shows the named locks in /dev/shm: who holds each, who waits for it, and what to do. list, show and watch never
acquire or change a lock. Locks without a name are not shown.

  list [--json] [--output COLUMNS]   all locks with owners and waiters, and deadlocks
  show NAME [--offset N] [--json]    one lock in words, and what you can do next
  watch [NAME]                       the same every second; q quits
  run NAME -- COMMAND [ARGUMENT...]  run a command while holding the lock, like flock(1)
  remove [--force] NAME              remove a segment that no process has mapped
  clean [--dry-run] [--foreign]      remove every segment that no process has mapped
  doctor [--json]                    test whether this machine has what the lock needs

For more, see heirlock COMMAND --help. heirlock --version prints the version.
)";

constexpr struct {
  const char* name;
  int (*run)(int count, char** arguments);
  int if_output_is_lost;  // the status then
} subcommands[] = {
    {"list", command::list, command::failed},     {"show", command::show, command::failed},
    {"watch", command::watch, command::failed},   {"run", command::run, EX_OSERR},
    {"remove", command::remove, command::failed}, {"clean", command::clean, command::failed},
    {"doctor", command::doctor, EX_OSERR},
};

int status_of_output(int status, int if_it_is_lost) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "heirlock: cannot write the output: %s\n", std::strerror(errno));
  return if_it_is_lost;
}

}  // namespace

int main(int count, char** arguments) {
  const char* const name = count > 1 ? arguments[1] : "";
  for (const auto& subcommand : subcommands)
    if (std::strcmp(name, subcommand.name) == 0)
      return status_of_output(subcommand.run(count - 1, arguments + 1), subcommand.if_output_is_lost);
  const bool is_help = std::strcmp(name, "--help") == 0 || std::strcmp(name, "-h") == 0;
  if (is_help || std::strcmp(name, "--version") == 0) {
    std::fputs(is_help ? usage : "heirlock " HEIRLOCK_VERSION "\n", stdout);
    return status_of_output(command::done, command::failed);
  }
  std::fprintf(stderr, "heirlock: %s%s%s\n%s", count > 1 ? "there is no command '" : "a command is missing",
               name, count > 1 ? "'" : "", usage);
  return command::wrong_usage;
}
