// Runs a fuzz target on each file given, or of each folder given, once: with any compiler, without libFuzzer.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/input.hpp"

// Where a sanitizer is linked in, it calls this before it ends the program.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

// Far more than any input needs, on a loaded machine too.
constexpr unsigned seconds_for_one_input = 60;

std::string current;

void say_which() {
  static constexpr char before[] = "replay: it happened on ";
  for (const std::string_view text :
       {std::string_view(before), std::string_view(current), std::string_view("\n")})
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

void die(int signal_number) {
  say_which();
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.is_regular_file()) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

bool run(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (!file) {
    std::fprintf(stderr, "replay: %s: found nothing to read, expected a file\n", path.c_str());
    return false;
  }
  current = path;
  alarm(seconds_for_one_input);
  // In memory of its own, so that a sanitizer sees a read past its end.
  const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  alarm(0);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(say_which);
  signal(SIGABRT, die);
  signal(SIGALRM, die);
  std::size_t done = 0;
  for (int i = 1; i < count; ++i)
    for (const std::filesystem::path& path : files_in(arguments[i])) {
      if (!run(path)) return 2;
      ++done;
    }
  std::printf("replay: %zu inputs, no finding\n", done);
  if (done == 0) std::fprintf(stderr, "replay: found no inputs, expected files or folders of files\n");
  return done == 0 ? 2 : 0;
}
