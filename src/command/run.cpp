// heirlock run: runs a command while holding a lock, in the manner of flock(1).
#include <getopt.h>
#include <heirlock/heirlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "command.hpp"

namespace {

constexpr char usage[] = R"(usage: heirlock run NAME [OPTION...] -- COMMAND [ARGUMENT...]

Runs COMMAND while holding the lock NAME, which is created if there is none. COMMAND finds NAME in the
environment variable HEIRLOCK_NAME.

  -n, --no-wait            give up at once if the lock is held
  -w, --timeout SECONDS    give up after this time, such as 0.5
      --repaired           run COMMAND even if an owner died: it repairs the data, or no data can be half-written.
                           The lock counts as repaired once COMMAND has ended with status 0.
  -h, --help

The exit status is COMMAND's, or 128+N if signal N killed it. If COMMAND did not run:
  64  wrong usage
  65  an owner died, so the data under the lock may be half-written
  66  NAME is not a lock that can be used here
  69  COMMAND cannot be executed
  71  the system refused
  75  the lock was held, and the time to wait was over
)";

constexpr std::int64_t for_ever = INT64_MAX;

struct Options {
  const char* name = nullptr;
  std::int64_t nanoseconds = for_ever;
  bool repaired = false;
  char** command = nullptr;
};

// Prints one line and returns the status.
__attribute__((format(printf, 2, 3))) int complain(int status, const char* format, ...) {
  std::fputs("heirlock run: ", stderr);
  std::va_list values;
  va_start(values, format);
  std::vfprintf(stderr, format, values);
  va_end(values);
  std::fputc('\n', stderr);
  return status;
}

bool read_seconds(const char* text, std::int64_t& nanoseconds) {
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(seconds >= 0)) return false;
  nanoseconds = seconds >= 9e9 ? for_ever : static_cast<std::int64_t>(std::ceil(seconds * 1e9));
  return true;
}

// Returns EX_OK if there is a command to run.
int read_options(int count, char** arguments, Options& options) {
  static const option known[] = {
      {"no-wait", no_argument, nullptr, 'n'},
      {"timeout", required_argument, nullptr, 'w'},
      {"repaired", no_argument, nullptr, 'r'},
      {"help", no_argument, nullptr, 'h'},
      {nullptr, 0, nullptr, 0},
  };
  // getopt_long returns arguments that are not options as 1, in their order: the name, then the command. What
  // follows belongs to the command.
  constexpr int argument = 1;
  for (int found = 0; (found = getopt_long(count, arguments, "-nw:h", known, nullptr)) != -1;) {
    switch (found) {
      case argument:
        if (options.name == nullptr) {
          options.name = optarg;
          continue;
        }
        options.command = arguments + optind - 1;
        return EX_OK;
      case 'n':
        options.nanoseconds = 0;
        break;
      case 'w':
        if (!read_seconds(optarg, options.nanoseconds))
          return complain(EX_USAGE, "--timeout '%s' is not a time; give seconds, 0 or more", optarg);
        break;
      case 'r':
        options.repaired = true;
        break;
      case 'h':
        std::fputs(usage, stdout);
        std::exit(EX_OK);
      default:  // getopt has said why
        return EX_USAGE;
    }
  }
  if (options.name == nullptr || optind == count)
    return complain(EX_USAGE, "the %s is missing; usage: heirlock run NAME -- COMMAND [ARGUMENT...]",
                    options.name == nullptr ? "name" : "command");
  options.command = arguments + optind;
  return EX_OK;
}

int refused(heirlock_outcome outcome) {
  std::fprintf(stderr, "%s\n", heirlock_last_message());
  switch (outcome) {
    case heirlock_invalid_name:
      return EX_USAGE;
    case heirlock_unsupported_platform:
    case heirlock_no_memory:
    case heirlock_system_error:
      return EX_OSERR;
    default:
      return EX_NOINPUT;
  }
}

// The first signal that ended the wait, or 0.
volatile std::sig_atomic_t ended_by = 0;
void end_by(int signal) {
  if (ended_by == 0) ended_by = signal;
}

// Handles signals. During the wait they end heirlock run. Once it owns the lock, it passes them on to the
// command: if they killed the owner, the next owner would have to repair the data.
class Supervisor {
 public:
  Supervisor() {
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2})
      if (change(signal, end_by) == SIG_IGN) change(signal, SIG_IGN);
    on_child_before_ = change(SIGCHLD, SIG_DFL);  // if it is ignored, waitpid() gets no status
  }

  // Returns false if a signal has come already: then call die_of_signal().
  bool take_over() {
    sigemptyset(&awaited_);
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGCHLD})
      sigaddset(&awaited_, signal);
    sigprocmask(SIG_BLOCK, &awaited_, &mask_before_);
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2})
      if (change(signal, SIG_DFL) == SIG_IGN) change(signal, SIG_IGN);
    return ended_by == 0;
  }

  [[noreturn]] void die_of_signal() const {
    raise(ended_by);
    sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
    _exit(128 + ended_by);  // only if the signal was blocked from the beginning
  }

  int run(const char* name, char** command) {
    setenv("HEIRLOCK_NAME", name, 1);
    const pid_t self = getpid();
    command_ = fork();
    if (command_ < 0) return complain(EX_OSERR, "fork: %s", std::strerror(errno));
    if (command_ == 0) execute(command, self);
    for (;;) {
      siginfo_t signal;
      if (sigwaitinfo(&awaited_, &signal) < 0) continue;
      int status = 0;
      if (signal.si_signo != SIGCHLD) {
        // A terminal signals the command, too, but at its end only the leader of the session. A signal that a
        // process sends to the whole group reaches the command twice: it looks like one to this process,
        // which must not get lost.
        const bool is_end = signal.si_signo == SIGHUP || signal.si_signo == SIGCONT;
        if (signal.si_code != SI_KERNEL || (is_end && getsid(0) == getpid())) kill(command_, signal.si_signo);
      } else if (waitpid(command_, &status, WNOHANG | WUNTRACED) == command_) {
        if (WIFEXITED(status)) return WEXITSTATUS(status);
        if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
        if (WSTOPSIG(status) != SIGSTOP) raise(SIGSTOP);  // Ctrl-Z: the shell waits for both to stop
      }
    }
  }

 private:
  using Action = void (*)(int);
  static Action change(int signal, Action action) {
    struct sigaction wanted = {};
    struct sigaction before = {};
    wanted.sa_handler = action;
    sigaction(signal, &wanted, &before);
    return before.sa_handler;
  }

  [[noreturn]] void execute(char** command, pid_t parent) const {
    // The command must not run on without the lock. The parent may be dead already.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EX_OSERR);
    change(SIGCHLD, on_child_before_);
    sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
    execvp(command[0], command);
    const int error = errno;
    _exit(complain(error == ENOMEM ? EX_OSERR : EX_UNAVAILABLE, "%s: %s", command[0], std::strerror(error)));
  }

  pid_t command_ = 0;
  sigset_t awaited_;
  sigset_t mask_before_;
  Action on_child_before_;
};

std::int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

bool is_acquired(heirlock_outcome outcome) {
  return outcome == heirlock_acquired || outcome == heirlock_inherited;
}

heirlock_outcome acquire(heirlock_lock* lock, const Options& options, std::int64_t deadline) {
  const heirlock_outcome at_once = heirlock_try_acquire(lock);
  if (at_once != heirlock_not_acquired || options.nanoseconds == 0) return at_once;
  const char* const outer = std::getenv("HEIRLOCK_NAME");
  if (deadline == for_ever && outer != nullptr && std::strcmp(outer, options.name) == 0)
    complain(0, "waiting for %s; if the enclosing heirlock run holds it, this never ends", options.name);
  for (;;) {
    // A signal just before the sleep does not end it, so look for signals once a second.
    const std::int64_t slice_end = std::min(deadline, now() + 1'000'000'000);
    const heirlock_outcome outcome = heirlock_acquire_interruptible(lock, slice_end);
    const bool is_over = slice_end == deadline && outcome == heirlock_not_acquired;
    if (ended_by != 0 || is_over || (outcome != heirlock_not_acquired && outcome != heirlock_interrupted))
      return outcome;
  }
}

// Acquires the lock that the name leads to. If the name was removed and created again during the wait, it
// acquires the new lock. `segment` is open afterwards, unless the outcome is below 0.
heirlock_outcome acquire_by_name(heirlock_segment& segment, const Options& options) {
  const std::int64_t start = now();
  const bool is_limited = options.nanoseconds < for_ever - start;
  const std::int64_t deadline = is_limited ? start + options.nanoseconds : for_ever;
  for (heirlock_outcome outcome = heirlock_not_acquired;;) {
    heirlock_segment found;
    const heirlock_outcome opened = heirlock_segment_open_or_create(
        &found, options.name, sizeof(heirlock_lock), alignof(heirlock_lock), HEIRLOCK_LOCK_TYPE);
    if (opened > 0 && found.object == segment.object) return outcome;  // mapped once for all handles
    if (is_acquired(outcome)) heirlock_release(static_cast<heirlock_lock*>(segment.object));
    if (opened < 0) return opened;
    heirlock_segment_close(&segment);
    segment = found;
    outcome = acquire(static_cast<heirlock_lock*>(segment.object), options, deadline);
    if (!is_acquired(outcome)) return outcome;
  }
}

int not_had(const heirlock_lock* lock, const Options& options) {
  const std::int32_t owner = heirlock_owner(lock);
  char held[48] = "was held";
  if (owner != 0) std::snprintf(held, sizeof held, "is held by thread %d", owner);
  return complain(EX_TEMPFAIL, "%s %s; see heirlock show %s", options.name, held, options.name);
}

}  // namespace

int command::run(int count, char** arguments) {
  Options options;
  if (const int status = read_options(count, arguments, options); status != EX_OK) return status;

  Supervisor supervisor;
  heirlock_segment segment{};
  const heirlock_outcome outcome = acquire_by_name(segment, options);
  auto* const lock = static_cast<heirlock_lock*>(segment.object);
  if (!supervisor.take_over()) {
    if (is_acquired(outcome)) heirlock_release(lock);
    supervisor.die_of_signal();
  }
  if (outcome < 0) return refused(outcome);
  if (outcome == heirlock_not_acquired) return not_had(lock, options);
  const bool is_inherited = outcome == heirlock_inherited;
  if (is_inherited && !options.repaired) {
    heirlock_release(lock);  // OWNER_DIED stays set
    return complain(EX_DATAERR,
                    "an owner of %s died, so the data may be half-written; repair it with heirlock run %s "
                    "--repaired -- COMMAND",
                    options.name, options.name);
  }
  const int status = supervisor.run(options.name, options.command);
  if (is_inherited && status == 0) heirlock_repaired(lock);
  heirlock_release(lock);
  if (is_inherited && status != 0) complain(0, "the command failed, so %s still needs repair", options.name);
  return status;
}
