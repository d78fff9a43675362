#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <tuple>

#include "arguments.hpp"
#include "command.hpp"
#include "show.hpp"

namespace command {
namespace {

volatile std::sig_atomic_t is_ended = 0;

// Reads single keys without echo. Signals end the program as q does, so that the terminal is restored.
class Keys {
 public:
  Keys() {
    struct sigaction action = {};
    action.sa_handler = [](int) { is_ended = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(signal, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    if (isatty(STDOUT_FILENO) == 0 || tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // Ctrl-Z would leave the shell without an echo
    is_set_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  ~Keys() {
    if (is_set_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  /// Waits a second. Returns whether q, the end of the input or a signal has come.
  static bool end_within_a_second() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 1000) <= 0) return is_ended != 0;
    char key = 0;
    return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q';
  }

 private:
  termios before_{};
  bool is_set_ = false;
};

}  // namespace

int watch(int count, char** arguments) {
  std::vector<std::string> names;
  if (const auto status = read_arguments(count, arguments,
                                         "usage: heirlock watch [NAME]\n\n"
                                         "Shows every second what `heirlock list`, or `heirlock show NAME`, "
                                         "shows, and for how long it has seen\n"
                                         "each waiter wait. q quits.\n",
                                         {}, 0, 1, names))
    return *status;
  const std::vector<const Column*> shown = columns(default_columns);
  const Wanted asked = names.empty() ? Wanted{} : wanted(names[0], std::nullopt);
  const bool is_terminal = isatty(STDOUT_FILENO) != 0;
  const Keys keys;
  using Wait = std::tuple<pid_t, std::string>;
  std::map<Wait, std::int64_t> since;
  do {
    Picture picture = look(asked);
    const std::int64_t now = seconds_of(CLOCK_MONOTONIC);
    std::map<Wait, std::int64_t> still;
    for (Lock& lock : picture.locks)
      for (Waiter& waiter : lock.waiters) {
        const Wait wait{waiter.task.id, picture.name(lock)};
        const auto known = since.find(wait);
        waiter.since = still[wait] = known != since.end() ? known->second : now;
      }
    since = std::move(still);
    std::string text = is_terminal ? "\033[H\033[2J" : "";
    const std::vector<const Lock*> locks = names.empty() ? own_locks(picture) : locks_of(picture, asked);
    if (names.empty())
      text += table(picture, locks, shown);
    else
      for (const Lock* const lock : locks) text += words(picture, *lock);
    if (!names.empty() && locks.empty()) say(text, "There is no lock %s.\n", names[0].c_str());
    text += deadlocks(picture, locks);
    for (const std::string& note : unseen(picture, locks)) say(text, "(%s)\n", note.c_str());
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) return failed;
  } while (!Keys::end_within_a_second());
  return done;
}

}  // namespace command
