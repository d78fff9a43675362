#include "support/segment_name.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace support {
namespace {

const std::string directory = "/dev/shm/";
const std::string file_prefix = "heirlock.";

std::string name_prefix(pid_t maker) {
  return "test." + std::to_string(maker) + ".";
}

std::vector<std::string> files_with_prefix(const std::string& prefix) {
  std::vector<std::string> found;
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return found;
  while (const dirent* const entry = readdir(stream)) {
    const std::string file = entry->d_name;
    if (file.compare(0, prefix.size(), prefix) == 0) found.push_back(file);
  }
  closedir(stream);
  return found;
}

// Waits in a process of its own until the test program and all that it forked have ended, however they did,
// and removes what they left. Its end of the pipe reads the end of the file then.
bool start_janitor() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  const pid_t program = getpid();
  if (fork() != 0) return close(ends[0]) == 0;
  setsid();  // an interrupt from the terminal is for the tests
  const int nothing = open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, standard);
  close(ends[1]);
  char unused = 0;
  while (read(ends[0], &unused, 1) < 0 && errno == EINTR) continue;
  for (const std::string& file : files_with_prefix(file_prefix + name_prefix(program)))
    std::remove((directory + file).c_str());
  _exit(0);
}

// Before main(), while there is one thread.
[[maybe_unused]] const bool janitor = start_janitor();

}  // namespace

SegmentName::SegmentName()
    : name_([] {
        static std::atomic<int> last{0};
        return name_prefix(getpid()) + std::to_string(++last) + ".segment";  // no name begins another
      }()),
      maker_(getpid()) {}

SegmentName::~SegmentName() {
  if (getpid() == maker_) std::remove(path().c_str());
}

std::string SegmentName::path() const {
  return directory + file_prefix + name_;
}

bool SegmentName::is_taken() const {
  struct stat status = {};
  return lstat(path().c_str(), &status) == 0;
}

int files_that_begin_with(const SegmentName& name) {
  return static_cast<int>(files_with_prefix(file_prefix + name.str()).size());
}

}  // namespace support
