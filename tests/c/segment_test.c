/* Named segments, and every outcome of the calls on them, from C. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "heirlock/heirlock.h"

typedef struct ledger {
  heirlock_lock lock;
  int64_t balance;
} ledger;

static const char* name; /* of each test's own segment, which is not there at its beginning and end */
static char path[300];

static heirlock_outcome create(heirlock_segment* segment) {
  return heirlock_segment_create(segment, name, sizeof(ledger), 8, "6ledger");
}
static heirlock_outcome open_(heirlock_segment* segment) {
  return heirlock_segment_open(segment, name, sizeof(ledger), 8, "6ledger");
}
static heirlock_outcome open_or_create(heirlock_segment* segment) {
  return heirlock_segment_open_or_create(segment, name, sizeof(ledger), 8, "6ledger");
}
typedef heirlock_outcome (*maker)(heirlock_segment*);
static const maker makers[] = {create, open_, open_or_create};

static void check_none(const heirlock_segment* segment) {
  CHECK(segment->object == NULL && segment->mapping == NULL && segment->mapping_size == 0);
}

static void check_refused(maker make, heirlock_outcome expected) {
  heirlock_segment segment;
  memset(&segment, 0xa5, sizeof segment);
  CHECK(make(&segment) == expected);
  check_none(&segment);
}

static void close_and_remove(heirlock_segment* segment) {
  CHECK(heirlock_segment_close(segment) == heirlock_done);
  CHECK(heirlock_segment_remove(name) == heirlock_done);
}

static void add_100_in_a_segment_opened_here(void* unused) {
  (void)unused;
  heirlock_segment segment;
  CHECK(open_(&segment) == heirlock_done);
  ledger* const here = segment.object;
  CHECK(heirlock_acquire(&here->lock) == heirlock_acquired);
  here->balance += 100;
  CHECK(heirlock_release(&here->lock) == heirlock_done);
  CHECK(heirlock_segment_close(&segment) == heirlock_done);
}

// Spec: c.segment
static void a_segment_made_by_one_process_is_opened_by_another(void) {
  heirlock_segment segment;
  CHECK(create(&segment) == heirlock_done);
  in_child(add_100_in_a_segment_opened_here, NULL);
  CHECK(((ledger*)segment.object)->balance == 100);
  close_and_remove(&segment);
}

// Spec: c.segment
static void a_new_segment_is_all_zero_and_aligned(void) {
  for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
    heirlock_segment segment;
    CHECK(heirlock_segment_create(&segment, name, 5000, alignment, "x") == heirlock_done);
    CHECK((uintptr_t)segment.object % alignment == 0);
    CHECK((char*)segment.mapping + segment.mapping_size == (char*)segment.object + 5000);
    for (int i = 0; i < 5000; ++i) CHECK(((const char*)segment.object)[i] == 0);
    close_and_remove(&segment);
  }
}

// Spec: c.segment
static void a_name_that_is_taken_is_not_created_again(void) {
  heirlock_segment segment;
  CHECK(create(&segment) == heirlock_done);
  check_refused(create, heirlock_file_exists);
  CHECK(heirlock_last_errno() == EEXIST);
  close_and_remove(&segment);
}

// Spec: c.segment
static void who_has_a_removed_segment_keeps_it(void) {
  heirlock_segment old, new;
  CHECK(create(&old) == heirlock_done);
  CHECK(heirlock_segment_is_named(&old) == 1);
  CHECK(heirlock_segment_remove(name) == heirlock_done);
  CHECK(create(&new) == heirlock_done);
  CHECK(heirlock_segment_is_named(&old) == 0 && heirlock_segment_is_named(&new) == 1);
  ((ledger*)old.object)->balance = 1;
  CHECK(((ledger*)new.object)->balance == 0);
  CHECK(heirlock_segment_close(&old) == heirlock_done);
  close_and_remove(&new);
}

/* Where the next page would be mapped: a page that was mapped and left would move it. */
static void* next_page(void) {
  void* const page = mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED && munmap(page, 1) == 0);
  return page;
}

static int is_mapped(const heirlock_segment* segment) {
  return msync(segment->mapping, segment->mapping_size, MS_ASYNC) == 0;
}

// Spec: c.segment
static void the_last_of_several_handles_unmaps_the_segment(void) {
  heirlock_segment made, opened;
  CHECK(heirlock_segment_remove(name) == heirlock_file_missing); /* whatever the first call maps */
  void* const before = next_page();
  CHECK(create(&made) == heirlock_done);
  CHECK(open_(&opened) == heirlock_done);
  CHECK(made.object == opened.object);
  const heirlock_segment closed = made;
  CHECK(heirlock_segment_close(&made) == heirlock_done);
  check_none(&made);
  CHECK(is_mapped(&closed));
  CHECK(heirlock_segment_close(&made) == heirlock_done); /* all zero: ends no other handle */
  CHECK(is_mapped(&closed));
  CHECK(heirlock_segment_close(&opened) == heirlock_done);
  CHECK(!is_mapped(&closed) && errno == ENOMEM);
  CHECK(next_page() == before);
  CHECK(heirlock_segment_remove(name) == heirlock_done);
}

// Spec: c.segment
static void another_size_alignment_or_type_is_a_layout_mismatch(void) {
  heirlock_segment segment, other;
  CHECK(create(&segment) == heirlock_done);
  CHECK(heirlock_segment_open(&other, name, 8, 8, "6ledger") == heirlock_layout_mismatch);
  check_none(&other);
  CHECK(heirlock_segment_open(&other, name, sizeof(ledger), 64, "6ledger") == heirlock_layout_mismatch);
  CHECK(heirlock_segment_open(&other, name, sizeof(ledger), 8, "5other") == heirlock_layout_mismatch);
  CHECK(strstr(heirlock_last_message(), "found type 6ledger, expected 5other") != NULL);
  CHECK(heirlock_segment_open_or_create(&other, name, sizeof(ledger), 8, "5other") ==
        heirlock_layout_mismatch);
  CHECK(heirlock_last_errno() == 0);
  close_and_remove(&segment);
}

// Spec: c.outcome
static void a_bad_name_is_refused(void) {
  const char* const bad[] = {NULL, "", "a/b", "with space"};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; ++i) {
    heirlock_segment segment;
    CHECK(heirlock_segment_create(&segment, bad[i], 8, 8, "x") == heirlock_invalid_name);
    check_none(&segment);
    CHECK(heirlock_segment_open(&segment, bad[i], 8, 8, "x") == heirlock_invalid_name);
    CHECK(heirlock_segment_open_or_create(&segment, bad[i], 8, 8, "x") == heirlock_invalid_name);
    CHECK(heirlock_segment_remove(bad[i]) == heirlock_invalid_name);
  }
}

// Spec: c.argument
static void a_size_alignment_or_pointer_that_cannot_be_is_refused(void) {
  heirlock_segment segment;
  const struct {
    uint64_t size, alignment;
    const char* type;
  } bad[] = {{0, 8, "x"}, {INT64_MAX, 8, "x"}, {UINT64_MAX, 8, "x"}, {8, 0, "x"},
             {8, 3, "x"}, {8, 8192, "x"},      {8, 8, NULL}};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; ++i)
    CHECK(heirlock_segment_create(&segment, name, bad[i].size, bad[i].alignment, bad[i].type) ==
          heirlock_invalid_argument);
  for (unsigned i = 0; i < 3; ++i) CHECK(makers[i](NULL) == heirlock_invalid_argument);
  CHECK(heirlock_segment_close(NULL) == heirlock_invalid_argument);
}

// Spec: c.outcome
static void what_has_no_place_among_the_addresses_is_no_memory(void) {
  const uint64_t size = (uint64_t)1 << 56; /* more than any processor gives to a process */
  heirlock_segment segment;
  CHECK(create(&segment) == heirlock_done);
  uint64_t* const header = segment.mapping; /* as SPECIFICATION.md gives it, of an object that is larger */
  header[2] = size;
  header[5] = 256 + size;
  CHECK(truncate(path, (off_t)(256 + size)) == 0);
  heirlock_segment larger;
  void* const before = next_page();
  CHECK(heirlock_segment_open(&larger, name, size, 8, "6ledger") == heirlock_no_memory);
  CHECK(next_page() == before);
  check_none(&larger);
  CHECK(heirlock_last_errno() == ENOMEM);
  close_and_remove(&segment);
}

static int ends_with(const char* text, const char* end) {
  const size_t length = strlen(text), end_length = strlen(end);
  return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static void create_without_files(void* unused) {
  (void)unused;
  struct rlimit before;
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const struct rlimit none = {0, before.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  check_refused(create, heirlock_system_error);
  CHECK(heirlock_last_errno() == EMFILE);
  CHECK(heirlock_errno(heirlock_system_error) == EMFILE);
  CHECK(ends_with(heirlock_last_message(), ": Too many open files"));
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

// Spec: c.outcome, c.message, c.text
static void another_error_of_the_system_comes_with_its_errno(void) {
  in_child(create_without_files, NULL);
}

static void remove_what_is_missing(void* unused) {
  (void)unused;
  CHECK(heirlock_last_errno() == 0 && heirlock_last_message()[0] == '\0');
  CHECK(heirlock_segment_remove(name) == heirlock_file_missing);
}

// Spec: c.message
static void each_thread_has_the_errno_and_the_message_of_its_own_last_error(void) {
  heirlock_lock lock = {{0}};
  CHECK(heirlock_release(&lock) == heirlock_not_owner);
  in_thread(remove_what_is_missing, NULL);
  CHECK(heirlock_last_errno() == 0);
  CHECK(strstr(heirlock_last_message(), "does not own the lock: it is free; only the thread") != NULL);
  CHECK(heirlock_acquire(&lock) == heirlock_acquired);
  CHECK(heirlock_release(&lock) == heirlock_done);
  heirlock_segment segment;
  CHECK(heirlock_segment_open_or_create(&segment, name, sizeof(ledger), 8, "6ledger") == heirlock_done);
  CHECK(heirlock_segment_close(&segment) == heirlock_done);
  CHECK(heirlock_segment_remove(name) == heirlock_done);
  CHECK(strstr(heirlock_last_message(), "does not own the lock: it is free") !=
        NULL); /* a success leaves it */
}

// Spec: c.text
static void each_outcome_has_a_text_of_its_own(void) {
  for (int one = heirlock_interrupted; one <= heirlock_done; ++one) {
    CHECK(strcmp(heirlock_text(one), "unknown outcome") != 0);
    for (int other = heirlock_interrupted; other < one; ++other)
      CHECK(strcmp(heirlock_text(one), heirlock_text(other)) != 0);
  }
  CHECK(strcmp(heirlock_text(heirlock_interrupted - 1), "unknown outcome") == 0);
  CHECK(strcmp(heirlock_text(heirlock_done + 1), "unknown outcome") == 0);
  CHECK(strcmp(heirlock_text(INT32_MIN), "unknown outcome") == 0);
}

// Spec: c.version
static void the_version_is_that_of_the_header_and_of_the_project(void) {
  CHECK(strcmp(heirlock_version(), HEIRLOCK_VERSION) == 0);
  CHECK(strcmp(heirlock_version(), EXPECTED_VERSION) == 0);
}

// Spec: c.errno
static void no_call_sets_errno(void) {
  enum { of_the_caller = 4711 };
  heirlock_lock lock = {{0}};
  heirlock_segment segment;
  errno = of_the_caller;
  CHECK(heirlock_release(&lock) == heirlock_not_owner && errno == of_the_caller);
  CHECK(heirlock_acquire(NULL) == heirlock_invalid_argument && errno == of_the_caller);
  CHECK(heirlock_acquire(&lock) == heirlock_acquired && errno == of_the_caller);
  CHECK(heirlock_release(&lock) == heirlock_done && errno == of_the_caller);
  CHECK(open_(&segment) == heirlock_file_missing && errno == of_the_caller);
  CHECK(open_or_create(&segment) == heirlock_done && errno == of_the_caller);
  CHECK(create(&segment) == heirlock_file_exists && errno == of_the_caller);
  CHECK(open_(&segment) == heirlock_done && errno == of_the_caller);
  CHECK(heirlock_segment_close(&segment) == heirlock_done && errno == of_the_caller);
  CHECK(heirlock_segment_remove(name) == heirlock_done && errno == of_the_caller);
  CHECK(heirlock_segment_remove(name) == heirlock_file_missing && errno == of_the_caller);
}

static int passed;
static void use_segments_while_cancelled(void) {
  heirlock_segment segment;
  CHECK(pthread_cancel(pthread_self()) == 0);
  CHECK(open_or_create(&segment) == heirlock_done);
  CHECK(heirlock_acquire(segment.object) == heirlock_acquired);
  CHECK(heirlock_release(segment.object) == heirlock_done);
  CHECK(heirlock_release(segment.object) == heirlock_not_owner);
  CHECK(heirlock_segment_close(&segment) == heirlock_done);
  CHECK(open_(&segment) == heirlock_done);
  close_and_remove(&segment);
  passed = 1;
}
static void* be_not_cancelled(void* unused) {
  heirlock_segment segment;
  int state = -1;
  CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
  CHECK(open_or_create(&segment) == heirlock_done);
  close_and_remove(&segment);
  CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
  CHECK(state == PTHREAD_CANCEL_DISABLE);
  return unused;
}

// Spec: lock.error.cancellation
static void who_may_not_be_cancelled_may_not_be_after_a_call(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, be_not_cancelled, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}

static void* be_cancelled_after_that(void* unused) {
  use_segments_while_cancelled();
  pthread_testcancel(); /* in a frame without variables: AddressSanitizer would not see them go */
  return unused;
}

// Spec: lock.error.cancellation
static void no_call_is_a_cancellation_point(void) {
  pthread_t thread;
  void* result = NULL;
  CHECK(pthread_create(&thread, NULL, be_cancelled_after_that, NULL) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(passed == 1);
  CHECK(result == PTHREAD_CANCELED); /* it is put off, not lost */
}

int main(void) {
  const test tests[] = {
      TEST_OF(a_segment_made_by_one_process_is_opened_by_another),
      TEST_OF(a_new_segment_is_all_zero_and_aligned),
      TEST_OF(a_name_that_is_taken_is_not_created_again),
      TEST_OF(who_has_a_removed_segment_keeps_it),
      TEST_OF(the_last_of_several_handles_unmaps_the_segment),
      TEST_OF(another_size_alignment_or_type_is_a_layout_mismatch),
      TEST_OF(a_bad_name_is_refused),
      TEST_OF(a_size_alignment_or_pointer_that_cannot_be_is_refused),
      TEST_OF(what_has_no_place_among_the_addresses_is_no_memory),
      TEST_OF(another_error_of_the_system_comes_with_its_errno),
      TEST_OF(each_thread_has_the_errno_and_the_message_of_its_own_last_error),
      TEST_OF(each_outcome_has_a_text_of_its_own),
      TEST_OF(the_version_is_that_of_the_header_and_of_the_project),
      TEST_OF(no_call_sets_errno),
      TEST_OF(no_call_is_a_cancellation_point),
      TEST_OF(who_may_not_be_cancelled_may_not_be_after_a_call),
  };
  static char own_name[64];
  snprintf(own_name, sizeof own_name, "test.c.%d", (int)getpid());
  name = own_name;
  snprintf(path, sizeof path, "/dev/shm/heirlock.%s", name);
  /* In a child, so that nothing is left when a test fails or crashes. */
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) return run_tests(tests, sizeof tests / sizeof *tests);
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  const int was_left = unlink(path) == 0;
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(!was_left);
  return 0;
}
