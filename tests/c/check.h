/* What the tests in C share: checks, threads, children and shared memory. A check that fails ends its
 * process. */
#ifndef TESTS_C_CHECK_H
#define TESTS_C_CHECK_H

#include <stdint.h>
#include <sys/types.h>

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
void check_failed(const char* file, int line, const char* condition);

typedef struct test {
  const char* claim;
  void (*run)(void);
} test;
#define TEST_OF(claim) ((test){#claim, claim})
/* Runs them one after the other. A watchdog ends what hangs. Returns 0. */
int run_tests(const test* tests, int count);

/* Zeroed memory that children share. */
void* shared_memory(uint64_t size);

typedef void (*body)(void* argument);
/* Runs it in a thread, to its end. */
void in_thread(body run, void* argument);
/* Runs it in a child, to its end, in which all checks must have passed. */
void in_child(body run, void* argument);
pid_t start_child(body run, void* argument);
void join_child(pid_t child);
/* Kills a child that has run it to its end. */
void in_killed_child(body run, void* argument);

int32_t my_tid(void);
int64_t now(void); /* CLOCK_MONOTONIC, in nanoseconds */

/* From now on this process's system calls of this number fail with the error. Returns whether that can be. */
int forbid(long number, int error);

#endif
