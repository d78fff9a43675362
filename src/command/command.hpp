// The program `heirlock`: one function for each subcommand, in a file of its name. Each is given the
// arguments from its own name on, and returns the exit status.
#ifndef HEIRLOCK_COMMAND_COMMAND_HPP
#define HEIRLOCK_COMMAND_COMMAND_HPP

namespace command {

int list(int count, char** arguments);
int show(int count, char** arguments);
int watch(int count, char** arguments);
int run(int count, char** arguments);
int remove(int count, char** arguments);
int clean(int count, char** arguments);
int doctor(int count, char** arguments);

constexpr int done = 0;
constexpr int failed = 1;       // and a line on standard error says why
constexpr int wrong_usage = 2;  // likewise

}  // namespace command
#endif
