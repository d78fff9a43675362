// heirlock doctor: tests whether this machine, sandbox or container has what the lock needs. It tries each
// thing, rather than trust versions, and does so in a child, as a sandbox may kill the caller.
#include <fcntl.h>
#include <heirlock/heirlock.h>
#include <linux/futex.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "arguments.hpp"
#include "command.hpp"
#include "heirlock/detail/linux_platform.hpp"
#include "output.hpp"

namespace {

using heirlock::detail::LinuxLock;
using heirlock::detail::LinuxPlatform;
using heirlock::detail::Order;

constexpr char usage[] = R"(usage: heirlock doctor [--json]

Tests whether this machine, sandbox or container has what the lock needs. Each line says ok, degraded or
unusable, what was found, the consequence and the remedy. It takes under 2 seconds and leaves nothing behind.

The exit status is 0 if all is well, 1 if something is degraded, 2 if the lock cannot be used, 64 for wrong
usage and 71 if nothing could be tested.
)";

// Also the exit status.
enum Verdict { ok, degraded, unusable };
constexpr const char* verdict_names[] = {"ok", "degraded", "unusable"};

struct Need {
  const char* name;
  Verdict otherwise;
  const char* consequence;  // if the need is not met
  const char* remedy;
};

// A child's answer, in memory shared with it.
struct Answer {
  Verdict verdict;
  char found[400];
};

// Writes one line about what was found. Returns `is_met`.
__attribute__((format(printf, 3, 4))) bool say(Answer& answer, bool is_met, const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(answer.found, sizeof answer.found, format, values);
  va_end(values);
  return is_met;
}

// --- Children ---

std::int64_t milliseconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1'000'000;
}
const std::int64_t time_is_over = milliseconds() + 1500;

void die_with_parent_or_when_the_time_is_over() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::int64_t left = std::max<std::int64_t>(time_is_over - milliseconds(), 1);
  const itimerval timer{{0, 0}, {left / 1000, left % 1000 * 1000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// If called in a child, the parent then gives up as well.
[[noreturn]] void give_up(const char* what, const char* why) {
  std::fprintf(stderr, "heirlock doctor: %s failed%s%s; nothing can be tested\n", what,
               *why != '\0' ? ": " : "", why);
  _exit(EX_OSERR);
}

template <class Body>
pid_t fork_to(Body body) {
  const pid_t child = fork();
  if (child < 0) give_up("fork", std::strerror(errno));
  if (child > 0) return child;
  die_with_parent_or_when_the_time_is_over();
  body();
  _exit(0);
}

int end_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

template <class T>
T& in_shared_memory() {
  void* const memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up("mmap", std::strerror(errno));
  return *::new (memory) T{};
}

struct Finding {
  Need need;
  Answer answer;
};

class Findings {
 public:
  /// Calls `ask(answer)` in a child. It returns whether the need is met and fills in what it found.
  template <class Ask>
  bool check(const Need& need, Ask ask) {
    Answer& answer = in_shared_memory<Answer>();
    answer.verdict = need.otherwise;
    const int status = end_of(fork_to([&] {
      // The library prints a message before it aborts; the answer replaces that.
      dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
      if (ask(answer)) answer.verdict = ok;
    }));
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) give_up("a child's fork or mmap", "");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
      say(answer, false, "a sandbox kills the caller");
    else if (WIFSIGNALED(status))
      say(answer, false, "the call killed the process: %s", strsignal(WTERMSIG(status)));
    if (WIFSIGNALED(status)) answer.verdict = need.otherwise;
    findings_.push_back({need, answer});
    munmap(&answer, sizeof answer);
    return findings_.back().answer.verdict == ok;
  }

  void print() const {
    for (const auto& [need, answer] : findings_) {
      std::printf("%-9s %-32s %s", verdict_names[answer.verdict], need.name, answer.found);
      if (answer.verdict != ok) std::printf(": %s; %s", need.consequence, need.remedy);
      std::putchar('\n');
    }
  }

  void print_json() const {
    std::printf("{\"verdict\": \"%s\", \"checks\": [", verdict_names[worst()]);
    const char* separator = "";
    for (const auto& [need, answer] : findings_) {
      const bool is_well = answer.verdict == ok;
      std::printf(
          "%s\n  {\"check\": %s, \"verdict\": \"%s\", \"found\": %s, \"consequence\": %s, \"remedy\": %s}",
          separator, command::quoted(need.name).c_str(), verdict_names[answer.verdict],
          command::quoted(answer.found).c_str(), is_well ? "null" : command::quoted(need.consequence).c_str(),
          is_well ? "null" : command::quoted(need.remedy).c_str());
      separator = ",";
    }
    std::puts("\n]}");
  }

  Verdict worst() const {
    Verdict verdict = ok;
    for (const Finding& finding : findings_) verdict = std::max(verdict, finding.answer.verdict);
    return verdict;
  }

 private:
  std::vector<Finding> findings_;
};

// --- System calls ---

template <class T>
long argument(T value) {
  if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<long>(value);
  else
    return static_cast<long>(value);
}

// Makes each call with arguments that have no effect. A sandbox that refuses the call returns another errno
// than the kernel, or kills the caller.
void check_calls(Findings& findings) {
  const auto call = [&](const char* name, Verdict otherwise, const char* consequence, int expected,
                        long number, auto... arguments) {
    findings.check({name, otherwise, consequence, "allow it in the sandbox (seccomp)"}, [=](Answer& answer) {
      const int error = syscall(number, argument(arguments)...) < 0 ? errno : 0;
      return error == expected ? say(answer, true, "allowed")
                               : say(answer, false, "refused: %s", std::strerror(error));
    });
  };
  static std::uint32_t word = 0;
  static unsigned char room[256];  // the longest answer: a struct stat
  constexpr int wake_op = FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0);

  static constexpr char no_acquire[] = "no lock can be acquired";
  call("getrandom", unusable, no_acquire, 0, SYS_getrandom, room, 8, 0);
  call("gettid", unusable, no_acquire, 0, SYS_gettid);
  call("get_robust_list", unusable, no_acquire, 0, SYS_get_robust_list, 0, room, room + 8);
  call("set_robust_list", unusable, "threads that libc did not start cannot acquire locks", EINVAL,
       SYS_set_robust_list, 0, 0);
  call("mmap", unusable, "only locks in the program's own memory can be shared", 0, SYS_mmap, 0, 4096,
       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  call("munmap", degraded, "locks stay mapped and use memory", EINVAL, SYS_munmap, 1, 4096);

  static constexpr char no_wait[] = "a program aborts when it waits for a lock";
  call("futex(FUTEX_WAIT_BITSET)", unusable, no_wait, EAGAIN, SYS_futex, &word, FUTEX_WAIT_BITSET, 1, 0, 0,
       FUTEX_BITSET_MATCH_ANY);
  call("clock_gettime(CLOCK_MONOTONIC)", unusable, no_wait, 0, SYS_clock_gettime, CLOCK_MONOTONIC, room);
  static constexpr char no_release[] = "a program aborts when it releases a lock with waiters";
  call("futex(FUTEX_WAKE)", unusable, no_release, 0, SYS_futex, &word, FUTEX_WAKE, 1);
  call("futex(FUTEX_WAKE_OP)", unusable, no_release, 0, SYS_futex, &word, FUTEX_WAKE_OP, 1, 0, &word,
       wake_op);
  call("tgkill", degraded, "a lock that another thread holds may be unmapped", EINVAL, SYS_tgkill, -1, -1, 0);

  static constexpr char no_create[] = "no named lock can be created";
  call("openat(O_TMPFILE)", unusable, no_create, EBADF, SYS_openat, -1, "lock", O_TMPFILE | O_RDWR, 0600);
  call("fchmod", unusable, no_create, EBADF, SYS_fchmod, -1, 0600);
  call("fallocate", unusable, no_create, EBADF, SYS_fallocate, -1, 0, 0, 1);
  call("linkat", unusable, no_create, EBADF, SYS_linkat, -1, "lock", -1, "lock", 0);
  static constexpr char no_open[] = "no named lock can be opened";
  call("newfstatat", unusable, no_open, EBADF, SYS_newfstatat, -1, "lock", room, 0);
  call("pread64", unusable, no_open, EBADF, SYS_pread64, -1, room, 8, 0);
  static constexpr char no_remove[] = "no named lock can be removed";
#ifdef SYS_unlink
  call("unlink", degraded, no_remove, ENOENT, SYS_unlink, "");
#else
  call("unlinkat", degraded, no_remove, ENOENT, SYS_unlinkat, AT_FDCWD, "", 0);
#endif
  call("close", degraded, "file descriptors stay open", EBADF, SYS_close, -1);
}

// --- The lock, and the kernel's part in it ---

bool wipes_memory_in_a_child(Answer& answer) {
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return say(answer, false, "mmap failed: %s", std::strerror(errno));
  if (madvise(page, 4096, MADV_WIPEONFORK) != 0)
    return say(answer, false, "refused: %s", std::strerror(errno));
  auto& byte = *static_cast<volatile char*>(page);
  byte = 1;
  const bool is_wiped = end_of(fork_to([&] { _exit(byte); })) == 0;
  return say(answer, is_wiped, is_wiped ? "a child's page is wiped" : "a child keeps its parent's page");
}

bool acquires_and_releases(Answer& answer) {
  auto& lock = in_shared_memory<heirlock_lock>();
  if (heirlock_acquire(&lock) < 0 || heirlock_release(&lock) < 0)
    return say(answer, false, "%s", heirlock_last_message());
  return say(answer, true, "a lock was acquired and released");
}

bool knows_its_pid_namespace(Answer& answer) {
  auto& lock = in_shared_memory<heirlock_lock>();
  if (heirlock_acquire(&lock) < 0) return say(answer, false, "%s", heirlock_last_message());
  const std::uint32_t number = heirlock::detail::this_process.load()->pid_namespace.load();
  return say(answer, true,
             number == command::first_pid_namespace
                 ? "%u, the machine's own"
                 : "%u, a container's: only its processes can use its locks",
             number);
}

// A lock with a sleeper, after a process that did `act` with the lock was killed.
struct Legacy {
  std::uint32_t word;
  bool was_woken;
};
template <class Act>
Legacy of_a_killed_process(Act act) {
  struct Memory {
    LinuxLock lock;
    LinuxPlatform::Atomic<std::uint32_t> has_acted;
  };
  auto& [lock, has_acted] = in_shared_memory<Memory>();
  const pid_t mortal = fork_to([&lock = lock, &has_acted = has_acted, act] {
    act(lock);
    has_acted.store(1, Order::release);
    pause();
  });
  while (has_acted.load(Order::acquire) == 0 && waitpid(mortal, nullptr, WNOHANG) == 0) sched_yield();
  const std::uint32_t word = lock.word.load(Order::relaxed) | heirlock::detail::waiters_bit;
  lock.word.store(word, Order::relaxed);
  const pid_t sleeper =
      fork_to([&lock = lock, word] { LinuxPlatform::sleep(lock.word, word, LinuxPlatform::for_ever); });
  // Requeueing sleepers to the same word counts them.
  while (syscall(SYS_futex, lock.word.futex(), FUTEX_CMP_REQUEUE, 0, INT_MAX, lock.word.futex(), word) != 1)
    sched_yield();
  kill(mortal, SIGKILL);
  end_of(mortal);
  const std::uint32_t left = lock.word.load(Order::relaxed);
  const bool was_asleep = syscall(SYS_futex, lock.word.futex(), FUTEX_WAKE, INT_MAX) == 1;
  end_of(sleeper);
  return {left, !was_asleep};
}

Legacy of_a_killed_owner() {
  return of_a_killed_process([](LinuxLock& lock) {
    if (heirlock_acquire(reinterpret_cast<heirlock_lock*>(&lock)) < 0) std::abort();
  });
}

bool frees_a_killed_owners_lock(Answer& answer) {
  const std::uint32_t word = of_a_killed_owner().word;
  const bool is_freed = word == (heirlock::detail::owner_died_bit | heirlock::detail::waiters_bit);
  return say(answer, is_freed, is_freed ? "free, with OWNER_DIED set" : "the word is 0x%08x, not 0xc0000000",
             word);
}

bool wakes_at_a_death(Answer& answer) {
  const bool was_woken = of_a_killed_owner().was_woken;
  return say(answer, was_woken, was_woken ? "woken" : "left asleep");
}

// The process is killed after it has freed a lock and before it wakes the waiter.
bool wakes_if_a_release_is_cut_short(Answer& answer) {
  const bool was_woken = of_a_killed_process([](LinuxLock& lock) {
                           heirlock_lock another{};
                           if (heirlock_acquire(&another) < 0) std::abort();
                           heirlock_release(&another);
                           LinuxPlatform::set_pending(*LinuxPlatform::known_thread(), lock);
                         }).was_woken;
  return say(answer, was_woken, was_woken ? "woken" : "left asleep");
}

bool tells_that_an_owner_is_gone(Answer& answer) {
  const pid_t dead = fork_to([] {});
  siginfo_t end;
  waitid(P_PID, static_cast<id_t>(dead), &end, WEXITED | WNOWAIT);
  const bool is_gone = LinuxPlatform::owner_is_gone(static_cast<std::uint32_t>(dead));
  end_of(dead);
  return say(
      answer, is_gone,
      is_gone ? "the kernel tells that a zombie is gone" : "get_robust_list is refused for other processes");
}

// --- The environment ---

bool shows_processes(Answer& answer) {
  struct statfs system = {};
  constexpr auto proc = 0x9fa0;  // PROC_SUPER_MAGIC
  if (statfs("/proc", &system) != 0 || system.f_type != proc) return say(answer, false, "not mounted");
  if (!command::has_own_proc()) return say(answer, false, "belongs to another PID namespace");
  if (command::hides_processes()) return say(answer, false, "hides other users' processes (hidepid)");
  return say(answer, true, "mounted, and shows all processes");
}

bool lets_a_debugger_attach(Answer& answer) {
  const pid_t debugged = fork_to([] { pause(); });
  const int status = end_of(fork_to([&] { _exit(ptrace(PTRACE_SEIZE, debugged, 0L, 0L) == 0 ? 0 : errno); }));
  kill(debugged, SIGKILL);
  end_of(debugged);
  if (status == 0) return say(answer, true, "to another process of the user");
  int yama = 0;
  std::ifstream("/proc/sys/kernel/yama/ptrace_scope") >> yama;
  return say(answer, false, "refused: %s; kernel.yama.ptrace_scope is %d",
             WIFEXITED(status) ? std::strerror(WEXITSTATUS(status)) : strsignal(WTERMSIG(status)), yama);
}

bool names_end_with_a_boot(Answer& answer) {
  unsigned long type = 0;
  const auto is_memory = command::is_in_memory(heirlock::detail::segment_directory, type);
  if (!is_memory) return say(answer, false, "%s", std::strerror(errno));
  return say(answer, *is_memory, *is_memory ? "a tmpfs" : "not a tmpfs but file system type 0x%lx", type);
}

bool keeps_names(Answer& answer) {
  struct stat status = {};
  if (stat("/dev/shm", &status) != 0) return say(answer, false, "%s", std::strerror(errno));
  const bool others_may_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool is_safe = (status.st_uid == 0 || status.st_uid == geteuid()) &&
                       (!others_may_write || (status.st_mode & S_ISVTX) != 0);
  return say(answer, is_safe, "mode %04o, owner %u", status.st_mode & 07777u, status.st_uid);
}

bool has_room(Answer& answer) {
  struct statvfs system = {};
  if (statvfs("/dev/shm", &system) != 0) return say(answer, false, "%s", std::strerror(errno));
  const auto megabytes = [&](std::uint64_t blocks) { return blocks * system.f_frsize >> 20; };
  const bool has_files = system.f_files == 0 || system.f_favail >= 16;  // 0: without limit
  return say(answer, megabytes(system.f_bavail) >= 1 && has_files, "%lu of %lu MB free%s",
             megabytes(system.f_bavail), megabytes(system.f_blocks), has_files ? "" : ", but no more files");
}

bool makes_a_named_lock(Answer& answer) {
  std::uint64_t random = 0;  // so that another user cannot create the name first
  if (getrandom(&random, sizeof random, 0) < 0) return say(answer, false, "%s", std::strerror(errno));
  const std::string name = "doctor." + std::to_string(random);
  heirlock_segment made;
  heirlock_segment opened;
  constexpr auto size = sizeof(heirlock_lock), alignment = alignof(heirlock_lock);
  if (heirlock_segment_create(&made, name.c_str(), size, alignment, HEIRLOCK_LOCK_TYPE) < 0)
    return say(answer, false, "%s", heirlock_last_message());
  const bool can_open =
      heirlock_segment_open(&opened, name.c_str(), size, alignment, HEIRLOCK_LOCK_TYPE) > 0 ||
      say(answer, false, "%s", heirlock_last_message());
  const bool can_remove =
      heirlock_segment_remove(name.c_str()) > 0 || say(answer, false, "%s", heirlock_last_message());
  return can_open && can_remove && say(answer, true, "created, opened and removed");
}

// Reads the configuration as logind does: one main file, then the drop-ins by name; those in /etc win.
bool removes_ipc() {
  namespace files = std::filesystem;
  std::vector<files::path> read;
  std::map<files::path, files::path> drop_ins;
  for (const char* const folder : {"/etc", "/run", "/usr/local/lib", "/usr/lib"}) {
    const files::path systemd = files::path(folder) / "systemd";
    std::error_code error;
    if (read.empty() && files::exists(systemd / "logind.conf", error)) read = {systemd / "logind.conf"};
    for (const auto& entry : files::directory_iterator(systemd / "logind.conf.d", error))
      if (entry.path().extension() == ".conf") drop_ins.emplace(entry.path().filename(), entry.path());
  }
  for (const auto& drop_in : drop_ins) read.push_back(drop_in.second);
  bool removes = true;
  for (const files::path& file : read) {
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);) {
      char value[16];
      if (std::sscanf(line.c_str(), " RemoveIPC = %15s", value) != 1) continue;
      for (const char* const no : {"no", "n", "false", "f", "off", "0"})
        if (strcasecmp(value, no) == 0) value[0] = '\0';
      removes = value[0] != '\0';
    }
  }
  return removes;
}

bool survives_logout(Answer& answer) {
  constexpr uid_t last_of_the_system = 999;
  if (getuid() <= last_of_the_system) return say(answer, true, "not for root and system users");
  if (access("/run/systemd/users", F_OK) != 0) return say(answer, true, "no systemd-logind runs here");
  if (!removes_ipc()) return say(answer, true, "no");
  const passwd* const user = getpwuid(getuid());
  const std::string linger = std::string("/var/lib/systemd/linger/") + (user != nullptr ? user->pw_name : "");
  if (user != nullptr && access(linger.c_str(), F_OK) == 0)
    return say(answer, true, "yes, but the user lingers");
  return say(answer, false, "yes");
}

}  // namespace

int command::doctor(int count, char** arguments) {
  bool as_json = false;
  std::vector<std::string> none;
  if (const auto status =
          read_arguments(count, arguments, usage, {{"--json", nullptr, &as_json}}, 0, 0, none))
    return *status == wrong_usage ? EX_USAGE : *status;

  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  Findings findings;
  check_calls(findings);
  constexpr char another_kernel[] = "use Linux itself, not an emulation of it (gVisor and the like)";
  findings.check({"MADV_WIPEONFORK", unusable, "no lock can be acquired",
                  "use Linux 4.14 or later, and allow madvise in the sandbox"},
                 wipes_memory_in_a_child);
  const bool can_lock = findings.check({"a lock", unusable, "no lock can be acquired", "see the lines above"},
                                       acquires_and_releases);
  if (can_lock) {
    findings.check({"PID namespace", unusable, "no lock can be acquired", "mount /proc"},
                   knows_its_pid_namespace);
    findings.check(
        {"a killed owner's lock", unusable,
         "the lock is inherited up to 1 s late, or never if the thread id is reused", another_kernel},
        frees_a_killed_owners_lock);
    findings.check(
        {"waking a killed owner's waiter", degraded, "the waiter inherits up to 1 s late", another_kernel},
        wakes_at_a_death);
    findings.check({"waking after a kill in a release", degraded, "the waiter goes on up to 1 s late",
                    "use a kernel of 2023 or later; Linux 5.10.218, 6.1.170 and 6.12 have the fix"},
                   wakes_if_a_release_is_cut_short);
  }
  findings.check(
      {"whether an owner is gone", degraded, "a death that the kernel did not mark is never noticed",
       "allow get_robust_list for processes of the same user, in the sandbox or the security module"},
      tells_that_an_owner_is_gone);
  findings.check({"/proc", degraded, "heirlock list and show miss some owners, waiters and users of locks",
                  "mount -t proc proc /proc, without hidepid"},
                 shows_processes);
  findings.check({"attaching a debugger", degraded, "gdb -p does not show where an owner is",
                  "run gdb as root, set kernel.yama.ptrace_scope to 0, or give the container CAP_SYS_PTRACE"},
                 lets_a_debugger_attach);
  findings.check({"/dev/shm", degraded, "named locks survive a reboot and may look held",
                  "mount -t tmpfs -o mode=1777 tmpfs /dev/shm"},
                 names_end_with_a_boot);
  findings.check({"/dev/shm's mode", degraded, "other users may remove or replace named locks",
                  "chown root /dev/shm; chmod 1777 /dev/shm"},
                 keeps_names);
  findings.check({"/dev/shm's room", degraded, "soon no named lock can be created",
                  "remove unused files there, mount -o remount,size=64m /dev/shm, or docker run --shm-size"},
                 has_room);
  if (can_lock)
    findings.check({"a named lock", unusable, "named locks cannot be used", "see the lines above"},
                   makes_a_named_lock);
  findings.check({"RemoveIPC of systemd-logind", degraded,
                  "when your last session ends, your named locks are removed, even while in use",
                  "loginctl enable-linger, a system user, or RemoveIPC=no in /etc/systemd/logind.conf"},
                 survives_logout);
  as_json ? findings.print_json() : findings.print();
  return findings.worst();
}
