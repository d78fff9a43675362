// heirlock-driver-c: the port is heirlock's C interface, in the shared library, from C.
#include <stdlib.h>

#include "driver.h"
#include "heirlock/heirlock.h"

static const char* word_of(heirlock_outcome outcome, const char* not_acquired) {
  switch (outcome) {
    case heirlock_not_acquired:
      return not_acquired;
    case heirlock_acquired:
      return "acquired";
    case heirlock_reentered:
      return "reentered";
    case heirlock_inherited:
      return "inherited";
    case heirlock_done:
      return "done";
    case heirlock_not_owner:
      return "not_owner";
    case heirlock_recursion_too_deep:
      return "recursion_too_deep";
    case heirlock_foreign_pid_namespace:
      return "foreign_pid_namespace";
    case heirlock_layout_mismatch:
      return "layout_mismatch";
    case heirlock_not_trusted:
      return "not_trusted";
    case heirlock_invalid_name:
      return "invalid_name";
    case heirlock_file_exists:
      return "file_exists";
    case heirlock_file_missing:
      return "file_missing";
    case heirlock_unsupported_platform:
    case heirlock_invalid_argument:
    case heirlock_no_memory:
    case heirlock_system_error:
    case heirlock_interrupted:
      break;
  }
  return result("error %s", heirlock_last_message());
}

static const char* done(heirlock_outcome outcome) {
  return word_of(outcome, "error not_acquired");
}

// --- The lock -------------------------------------------------------------------------------------------

static const char* acquire(void* lock) {
  return done(heirlock_acquire(lock));
}

static const char* acquire_for(void* lock, int64_t milliseconds) {
  const int64_t most = INT64_MAX / 1000000;
  const int64_t nanoseconds = milliseconds > most ? INT64_MAX : milliseconds * 1000000;
  return word_of(heirlock_acquire_for(lock, milliseconds < 0 ? 0 : nanoseconds), "timeout");
}

static const char* try_acquire(void* lock) {
  return word_of(heirlock_try_acquire(lock), "busy");
}

static const char* release(void* lock) {
  return done(heirlock_release(lock));
}

static const char* repaired(void* lock) {
  return done(heirlock_repaired(lock));
}

static const char* depth(void* lock) {
  return result("%u", (unsigned)heirlock_depth(lock));
}

static const char* owner(void* lock) {
  return result("%d", (int)heirlock_owner(lock));
}

static const char* flag(void* lock) {
  return heirlock_needs_repair(lock) ? "yes" : "no";
}

// --- Named segments -------------------------------------------------------------------------------------

typedef heirlock_outcome open_call(heirlock_segment* segment, const char* name, uint64_t size,
                                   uint64_t alignment, const char* type);

static const char* open_with(open_call* call, const char* name, segment* made) {
  heirlock_segment* const opened = malloc(sizeof *opened);
  if (!opened) return "error no memory";
  const heirlock_outcome outcome = call(opened, name, sizeof(heirlock_lock), 8, HEIRLOCK_LOCK_TYPE);
  *made = (segment){opened->object, opened};
  if (outcome != heirlock_done) free(opened);
  return done(outcome);
}

static const char* create(const char* name, segment* made) {
  return open_with(heirlock_segment_create, name, made);
}

static const char* open_present(const char* name, segment* made) {
  return open_with(heirlock_segment_open, name, made);
}

static const char* open_or_create(const char* name, segment* made) {
  return open_with(heirlock_segment_open_or_create, name, made);
}

static const char* close_segment(segment* open) {
  const heirlock_outcome outcome = heirlock_segment_close(open->handle);
  free(open->handle);
  return done(outcome);
}

static const char* remove_name(const char* name) {
  return done(heirlock_segment_remove(name));
}

int main(int argument_count, char** arguments) {
  static const port c = {
      .capabilities = "threads fork exec death query names layout",
      .acquire = acquire,
      .acquire_for = acquire_for,
      .try_acquire = try_acquire,
      .release = release,
      .repaired = repaired,
      .depth = depth,
      .owner = owner,
      .flag = flag,
      .create = create,
      .open = open_present,
      .open_or_create = open_or_create,
      .close = close_segment,
      .remove = remove_name,
  };
  return drive(&c, argument_count, arguments);
}
