#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void check_failed(const char* file, int line, const char* condition) {
  fprintf(stderr, "%s:%d: found that this does not hold: %s\n", file, line, condition);
  fflush(NULL);
  _exit(1);
}

int run_tests(const test* tests, int count) {
  for (int i = 0; i < count; ++i) {
    printf("%s\n", tests[i].claim);
    fflush(stdout);
    alarm(300);
    tests[i].run();
  }
  alarm(0);
  return 0;
}

void* shared_memory(uint64_t size) {
  void* const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

typedef struct call {
  body run;
  void* argument;
} call;

static void* thread_main(void* argument) {
  const call* const made = argument;
  made->run(made->argument);
  return NULL;
}

void in_thread(body run, void* argument) {
  call made = {run, argument};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, thread_main, &made) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}

pid_t start_child(body run, void* argument) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(300);
    run(argument);
    exit(0);
  }
  return child;
}

void join_child(pid_t child) {
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void in_child(body run, void* argument) {
  join_child(start_child(run, argument));
}

void in_killed_child(body run, void* argument) {
  int ready[2];
  CHECK(pipe(ready) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(300);
    run(argument);
    CHECK(write(ready[1], "", 1) == 1);
    for (;;) pause();
  }
  char byte;
  CHECK(close(ready[1]) == 0);
  CHECK(read(ready[0], &byte, 1) == 1);
  CHECK(kill(child, SIGKILL) == 0);
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK(close(ready[0]) == 0);
}

int32_t my_tid(void) {
  return (int32_t)syscall(SYS_gettid);
}

int64_t now(void) {
  struct timespec time;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int forbid(long number, int error) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog filter = {sizeof program / sizeof *program, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}
