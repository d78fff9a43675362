// heirlock-stress: see help_text() in options.cpp.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include "stress/options.hpp"
#include "stress/report.hpp"
#include "stress/supervisor.hpp"
#include "stress/worker.hpp"

namespace {

constexpr int status_passed = 0;
constexpr int status_failed = 1;
constexpr int status_refused = 2;

// The file of --json: opened before the run, as a name that cannot be written is better told now than later.
class JsonFile {
 public:
  explicit JsonFile(const std::string& name) : name_(name) {
    if (name_.empty()) return;
    file_ = open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file_ < 0) fail("cannot open");
  }
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;
  ~JsonFile() {
    if (file_ >= 0) close(file_);
  }

  void write(std::string_view text) {
    while (file_ >= 0 && !text.empty()) {
      const ssize_t written = ::write(file_, text.data(), text.size());
      if (written < 0 && errno != EINTR) fail("cannot write");
      if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw std::system_error(errno, std::system_category(),
                            "--json: " + std::string(what) + " '" + name_ + "'");
  }

  const std::string name_;
  int file_ = -1;
};

int run(stress::Options options) {
  if (!options.seed) options.seed = std::random_device{}();
  if (options.plan) {
    std::fputs((stress::headline(options) + stress::plan_text(options)).c_str(), stdout);
    return status_passed;
  }
  JsonFile json(options.json);
  stress::Supervisor supervisor(options);  // from here on a Ctrl-C ends the run, and with its table
  std::fputs(stress::headline(options).c_str(), stdout);
  std::fflush(stdout);
  const stress::Result result = supervisor.run();
  std::fputs(stress::table(result).c_str(), stdout);
  std::fflush(stdout);
  json.write(stress::as_json(options, result));
  return result.passed() ? status_passed : status_failed;
}

int complain(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return status_refused;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[0]) == stress::name_after_exec) stress::after_exec(argv[1]);
  try {
    auto parsed = stress::parse_options(std::vector<std::string_view>(argv + 1, argv + argc));
    if (const auto* mistake = std::get_if<stress::Mistake>(&parsed)) return complain(mistake->message);
    if (auto* options = std::get_if<stress::Options>(&parsed)) return run(std::move(*options));
    std::fputs(stress::help_text().c_str(), stdout);
    return status_passed;
  } catch (const std::exception& error) {
    return complain(std::string("heirlock-stress: ") + error.what());
  }
}
