// The protocol of a driver (../README.md), over any port (driver.h).
//
// One thread, the reader, reads the requests and hands each to the thread that it is for, by a pipe of that
// thread's own. In a child made by fork the forking thread is alone: it begins anew, with pipes and a reader
// of its own. Threads share nothing else that a fork could tear but the list of segments, whose mutex the
// forking thread holds.
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { main_thread = 1, max_thread = 255 };

// Shorter than PIPE_BUF, so a pipe takes and gives it as a whole.
typedef struct request {
  int thread;
  char command[32];
  char lock[512];
  char argument[2048];
} request;

typedef struct worker {
  bool runs;
  pthread_t thread;
  int requests[2];  // a pipe: read there, written here
} worker;

typedef struct named {
  struct named* next;
  segment opened;
  char name[sizeof(((request*)0)->lock)];
} named;

static const port* the_port;
static char** the_arguments;
static char* memory;
static worker workers[max_thread + 1];  // the reader's alone, once it runs
static named* names;                    // what was opened last comes first
static pthread_mutex_t names_mutex = PTHREAD_MUTEX_INITIALIZER;

// What ThreadSanitizer would refuse or report is what vectors ask for: threads in a child, misused mutexes.
// Nor is it to sleep for a second at each exit.
const char* __tsan_default_options(void);
const char* __tsan_default_options(void) {
  return "die_after_fork=0 report_mutex_bugs=0 detect_deadlocks=0 atexit_sleep_ms=0";
}

static bool is(const char* text, const char* other) {
  return strcmp(text, other) == 0;
}

_Noreturn static void give_up(const char* what) {
  fprintf(stderr, "%s: %s failed: %s\n", the_arguments[0], what, strerror(errno));
  _exit(1);
}

// --- Answers --------------------------------------------------------------------------------------------

const char* result(const char* format, ...) {
  static _Thread_local char text[1024];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  return text;
}

static void answer(int number, const char* text) {
  char line[1100];
  snprintf(line, sizeof line - 1, "%d %s", number, text);
  for (char* at = line; (at = strchr(at, '\n'));) *at = ' ';
  strcat(line, "\n");
  // By one call, or the lines of two threads may be mixed.
  if (write(STDOUT_FILENO, line, strlen(line)) < 0) give_up("write of an answer");
}

// --- Locks ----------------------------------------------------------------------------------------------

// Returns where the list points at the segment; at null if none of this name is open. Under names_mutex.
static named** find(const char* name) {
  named** at = &names;
  while (*at && !is((*at)->name, name)) at = &(*at)->next;
  return at;
}

// Returns null if there is no such lock.
static void* lock_of(const char* text) {
  if (text[0] == '@') {
    pthread_mutex_lock(&names_mutex);
    const named* const found = *find(text + 1);
    void* const lock = found ? found->opened.lock : NULL;
    pthread_mutex_unlock(&names_mutex);
    return lock;
  }
  char* end;
  const long number = strtol(text, &end, 10);
  const bool is_lock = end != text && *end == '\0' && number >= 0 && number < lock_count;
  return is_lock ? memory + number * lock_stride : NULL;
}

typedef const char* lock_call(void* lock);

static const char* use_lock(lock_call* call, const request* asked) {
  void* const lock = lock_of(asked->lock);
  if (!lock)
    return result("error there is no lock %s; give 0 to %d, or @NAME of an open segment", asked->lock,
                  lock_count - 1);
  if (!is(asked->command, "acquire") || is(asked->argument, "-")) return call(lock);

  char* end;
  const long long milliseconds = strtoll(asked->argument, &end, 10);
  if (*end != '\0') return result("error %s is not a time; give milliseconds", asked->argument);
  return the_port->acquire_for(lock, milliseconds);
}

// --- Names ----------------------------------------------------------------------------------------------

typedef const char* open_call(const char* name, segment* made);

static const char* open_segment(open_call* call, const char* name) {
  named* const made = calloc(1, sizeof *made);
  if (!made) give_up("calloc");
  strcpy(made->name, name);
  const char* const outcome = call(name, &made->opened);
  if (!is(outcome, "done")) {
    free(made);
    return outcome;
  }
  pthread_mutex_lock(&names_mutex);
  made->next = names;
  names = made;
  pthread_mutex_unlock(&names_mutex);
  return outcome;
}

static const char* close_segment(const char* name) {
  pthread_mutex_lock(&names_mutex);
  named** const at = find(name);
  named* const found = *at;
  if (found) *at = found->next;
  pthread_mutex_unlock(&names_mutex);
  if (!found) return result("error @%s is not open; open it first", name);
  const char* const outcome = the_port->close(&found->opened);
  free(found);
  return outcome;
}

static const char* use_name(const char* command, const char* name) {
  if (is(command, "create")) return open_segment(the_port->create, name);
  if (is(command, "open")) return open_segment(the_port->open, name);
  if (is(command, "open_or_create")) return open_segment(the_port->open_or_create, name);
  if (is(command, "close")) return close_segment(name);
  if (is(command, "remove")) return the_port->remove(name);
  return "error unknown";
}

// --- Processes ------------------------------------------------------------------------------------------

_Noreturn static void begin(void);

static void replace_by_fifo(int file, const char* path, const char* suffix, int flags) {
  char fifo[sizeof(((request*)0)->argument) + 8];
  snprintf(fifo, sizeof fifo, "%s%s", path, suffix);
  const int opened = open(fifo, flags | O_CLOEXEC);
  if (opened < 0 || dup2(opened, file) < 0) give_up(fifo);
  close(opened);
}

static const char* fork_to(const char* path) {
  pthread_mutex_lock(&names_mutex);
  const pid_t child = fork();
  pthread_mutex_unlock(&names_mutex);
  if (child < 0) return result("error fork: %s", strerror(errno));
  if (child > 0) return "done";
  replace_by_fifo(STDIN_FILENO, path, ".in", O_RDONLY);
  replace_by_fifo(STDOUT_FILENO, path, ".out", O_WRONLY);
  begin();
}

static const char* execute_anew(void) {
  execv("/proc/self/exe", the_arguments);
  return result("error execv: %s", strerror(errno));
}

// --- Threads --------------------------------------------------------------------------------------------

static const char* perform(const request* asked) {
  const struct {
    const char* command;
    lock_call* call;
  } of_lock[] = {
      {"acquire", the_port->acquire},   {"try", the_port->try_acquire}, {"release", the_port->release},
      {"repaired", the_port->repaired}, {"depth", the_port->depth},     {"owner", the_port->owner},
      {"flag", the_port->flag},         {"lock", the_port->lock},       {"try_lock", the_port->try_lock},
  };
  for (size_t i = 0; i < sizeof of_lock / sizeof *of_lock; ++i)
    if (of_lock[i].call && is(asked->command, of_lock[i].command)) return use_lock(of_lock[i].call, asked);

  if (is(asked->command, "tid")) return result("%ld", syscall(SYS_gettid));
  if (is(asked->command, "fork")) return fork_to(asked->argument);
  if (is(asked->command, "exec")) return execute_anew();
  if (is(asked->command, "exit")) _exit(0);
  if (the_port->open && asked->lock[0] == '@') return use_name(asked->command, asked->lock + 1);
  return "error unknown";
}

static void* perform_requests(void* self) {
  const int requests = ((worker*)self)->requests[0];
  request asked;
  for (;;) {
    if (read(requests, &asked, sizeof asked) != sizeof asked) give_up("read of a request");
    if (is(asked.command, "end")) return NULL;
    answer(asked.thread, perform(&asked));
  }
}

static void make_pipe(worker* made) {
  if (pipe2(made->requests, O_CLOEXEC) != 0) give_up("pipe2");
  made->runs = true;
}

static void start(worker* started) {
  make_pipe(started);
  errno = pthread_create(&started->thread, NULL, perform_requests, started);
  if (errno != 0) give_up("pthread_create");
}

// No other request is read meanwhile: who is told to end is not waiting for a lock.
static void join(worker* ending) {
  pthread_join(ending->thread, NULL);
  close(ending->requests[0]);
  close(ending->requests[1]);
  ending->runs = false;
}

// --- Requests -------------------------------------------------------------------------------------------

static void hand_over(const request* asked) {
  worker* const to = &workers[asked->thread];
  if (!to->runs) start(to);
  if (write(to->requests[1], asked, sizeof *asked) != sizeof *asked) give_up("write of a request");
  if (!is(asked->command, "end")) return;
  join(to);
  answer(asked->thread, "done");
}

static void read_request(const char* line) {
  request asked = {0};
  char more;
  const int found = sscanf(line, "%9d %31s %511s %2047s %c", &asked.thread, asked.command, asked.lock,
                           asked.argument, &more);
  if (found != 4)
    answer(asked.thread, "error this is no request; send THREAD COMMAND LOCK ARGUMENT");
  else if (asked.thread < main_thread || asked.thread > max_thread)
    answer(asked.thread, result("error there is no such thread; give 1 to %d", max_thread));
  else if (asked.thread == main_thread && is(asked.command, "end"))
    answer(asked.thread, "error the main thread cannot end; end another, or send exit");
  else
    hand_over(&asked);
}

static void* read_requests(void* unused) {
  // Not stdin: in a child that holds what its parent has read and not yet used.
  FILE* const input = fdopen(STDIN_FILENO, "r");
  if (!input) give_up("fdopen of standard input");
  char* line = NULL;
  size_t size = 0;
  while (getline(&line, &size, input) >= 0) read_request(line);
  _exit(0);
  return unused;
}

// The calling thread is the only one of its process, and becomes the main thread of a driver. A child keeps
// the pipes of its parent's threads open; they hurt nobody.
_Noreturn static void begin(void) {
  memset(workers, 0, sizeof workers);
  worker* const self = &workers[main_thread];
  make_pipe(self);
  char ready[200];
  const int length = snprintf(ready, sizeof ready, "ready %d %s\n", (int)getpid(), the_port->capabilities);
  if (write(STDOUT_FILENO, ready, (size_t)length) < 0) give_up("write of the first line");

  pthread_t reader;
  errno = pthread_create(&reader, NULL, read_requests, NULL);
  if (errno != 0) give_up("pthread_create");
  perform_requests(self);  // the main thread is not told to end
  abort();
}

// --- The start ------------------------------------------------------------------------------------------

// Returns false, with a message, if this is no MEMORY.
static bool map_memory(const char* path) {
  const int file = open(path, O_RDWR | O_CLOEXEC);
  struct stat found;
  if (file < 0 || fstat(file, &found) != 0) {
    fprintf(stderr, "%s: cannot open %s: %s; give a file of %d zero bytes\n", the_arguments[0], path,
            strerror(errno), memory_size);
    return false;
  }
  if (found.st_size < memory_size) {
    fprintf(stderr, "%s: %s has %lld bytes, expected %d\n", the_arguments[0], path, (long long)found.st_size,
            memory_size);
    return false;
  }
  memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) give_up("mmap");
  if (the_port->prepare) {
    if (flock(file, LOCK_EX) != 0) give_up("flock");
    the_port->prepare(memory);
    if (flock(file, LOCK_UN) != 0) give_up("flock");  // the mapping would keep it beyond the close
  }
  close(file);
  return true;
}

int drive(const port* driven, int argument_count, char** arguments) {
  the_port = driven;
  the_arguments = arguments;
  if (argument_count != 2) {
    fprintf(stderr, "usage: %s MEMORY, a file of %d zero bytes that the drivers share\n", arguments[0],
            memory_size);
    return 2;
  }
  if (!map_memory(arguments[1])) return 2;
  begin();
}
