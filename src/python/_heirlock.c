// The extension module of heirlock for Python: the lock, the decorator and the memory of locks. These must be
// fast, or must not be torn by an exception of a signal handler: none runs between an acquire and the return
// from this module.
//
// Limited API of Python 3.10, C11 or C++17. heirlock/__init__.py builds the public classes on this module.
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030A0000
#endif
#include <Python.h>
// After Python.h, which may define macros that the system's headers test.
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "heirlock/heirlock.h"

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define COLD __attribute__((cold, noinline))

static const int64_t for_ever = INT64_MAX;
static const int64_t no_wait = 0;
static const int64_t one_second = 1000000000;

static PyObject *not_owner_error, *owner_died_error;  // exceptions
static PyObject* acquire_results[heirlock_inherited + 1];
static PyObject* bound_method;  // types.MethodType
static PyTypeObject *lock_type, *locked_type;

static PyObject* text_of(const char* bytes) {
  return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "replace");
}

// Raises the exception for this thread's last refusal. Returns null.
COLD static PyObject* raise_refusal(heirlock_outcome outcome) {
  PyObject* kind = PyExc_OSError;
  PyObject* const message = text_of(heirlock_last_message());
  PyObject* error = NULL;
  if (outcome == heirlock_not_owner) kind = not_owner_error;
  if (outcome == heirlock_recursion_too_deep) kind = PyExc_RecursionError;
  if (outcome == heirlock_invalid_name || outcome == heirlock_invalid_argument) kind = PyExc_ValueError;
  if (outcome == heirlock_no_memory) kind = PyExc_MemoryError;
  if (message != NULL && kind == PyExc_OSError)
    error = PyObject_CallFunction(kind, "iO", (int)heirlock_errno(outcome), message);
  else if (message != NULL)
    error = PyObject_CallFunctionObjArgs(kind, message, NULL);
  if (error != NULL) PyErr_SetObject((PyObject*)Py_TYPE(error), error);
  Py_XDECREF(message);
  Py_XDECREF(error);
  return NULL;
}

// At the end of a dealloc.
static void free_object(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

// --- The memory of locks ---

// A mapped file and its descriptor. Other parts of the program may close the descriptor (daemons close all),
// and the system may then reuse its number. So each use checks it first.
typedef struct Mapping {
  PyObject ob_base;
  void* address;
  size_t size;
  int descriptor;
  dev_t device;
  ino_t inode;
} Mapping;

static int is_still_ours(const Mapping* self) {
  struct stat status;
  return self->descriptor >= 0 && fstat(self->descriptor, &status) == 0 && status.st_dev == self->device &&
         status.st_ino == self->inode;
}

// Mapping(descriptor) takes over the descriptor. Mapping(-1, size) makes a file.
static PyObject* mapping_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  int descriptor = -1;
  unsigned long size = 0;
  struct stat status;
  (void)keywords;
  if (!PyArg_ParseTuple(arguments, "i|k", &descriptor, &size)) return NULL;
  Mapping* const self = (Mapping*)PyType_GenericAlloc(type, 0);
  if (self == NULL) return NULL;
  self->descriptor = -1;
  const int made = size == 0 ? -1 : memfd_create("heirlock", MFD_CLOEXEC);
  if (size != 0) descriptor = made;
  int is_good =
      (size == 0 || (made >= 0 && ftruncate(made, (off_t)size) == 0)) && fstat(descriptor, &status) == 0;
  if (is_good) {
    self->size = (size_t)status.st_size;
    self->address = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    is_good = self->address != MAP_FAILED;
  }
  if (!is_good) {
    PyErr_SetFromErrno(PyExc_OSError);
    if (made >= 0) close(made);
    Py_DECREF(self);
    return NULL;
  }
  self->descriptor = descriptor;
  self->device = status.st_dev;
  self->inode = status.st_ino;
  return (PyObject*)self;
}

static void mapping_dealloc(PyObject* object) {
  Mapping* const self = (Mapping*)object;
  if (self->address != MAP_FAILED && self->address != NULL) munmap(self->address, self->size);
  if (is_still_ours(self)) close(self->descriptor);
  free_object(object);
}

static PyObject* mapping_descriptor(PyObject* object, PyObject* unused) {
  Mapping* const self = (Mapping*)object;
  (void)unused;
  if (is_still_ours(self)) return PyLong_FromLong(self->descriptor);
  PyObject* const error =
      PyObject_CallFunction(PyExc_OSError, "is", EBADF,
                            "heirlock: a spawned child gets the lock by a file descriptor, "
                            "but the program has closed it; make the lock after the close "
                            "(os.closerange), or give it a name");
  if (error != NULL) PyErr_SetObject(PyExc_OSError, error);
  Py_XDECREF(error);
  return NULL;
}

static PyObject* mapping_identity(PyObject* object, void* unused) {
  (void)unused;
  return Py_BuildValue("KK", (unsigned long long)((Mapping*)object)->device,
                       (unsigned long long)((Mapping*)object)->inode);
}

static PyMethodDef mapping_methods[] = {{"descriptor", mapping_descriptor, METH_NOARGS, NULL}, {0}};
static PyMemberDef mapping_members[] = {{"address", T_ULONG, offsetof(Mapping, address), READONLY, NULL},
                                        {0}};
static PyGetSetDef mapping_attributes[] = {{"identity", mapping_identity, NULL, NULL, NULL}, {0}};
static PyType_Slot mapping_slots[] = {
    {Py_tp_new, (void*)mapping_new},    {Py_tp_dealloc, (void*)mapping_dealloc},
    {Py_tp_methods, mapping_methods},   {Py_tp_members, mapping_members},
    {Py_tp_getset, mapping_attributes}, {0, NULL}};
static PyType_Spec mapping_spec = {"heirlock._heirlock.Mapping", sizeof(Mapping), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, mapping_slots};

typedef struct Segment {
  PyObject ob_base;
  heirlock_segment segment;
} Segment;

// Segment(how, name); `how` is "create", "open" or "open_or_create".
static PyObject* segment_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  const char *how, *name;
  heirlock_outcome outcome;
  (void)keywords;
  if (!PyArg_ParseTuple(arguments, "ss", &how, &name)) return NULL;
  Segment* const self = (Segment*)PyType_GenericAlloc(type, 0);
  if (self == NULL) return NULL;
  const uint64_t size = sizeof(heirlock_lock);
  if (strcmp(how, "create") == 0)
    outcome = heirlock_segment_create(&self->segment, name, size, 8, HEIRLOCK_LOCK_TYPE);
  else if (strcmp(how, "open") == 0)
    outcome = heirlock_segment_open(&self->segment, name, size, 8, HEIRLOCK_LOCK_TYPE);
  else
    outcome = heirlock_segment_open_or_create(&self->segment, name, size, 8, HEIRLOCK_LOCK_TYPE);
  if (outcome < 0) {
    raise_refusal(outcome);
    Py_DECREF(self);
    return NULL;
  }
  return (PyObject*)self;
}

static void segment_dealloc(PyObject* object) {
  heirlock_segment_close(&((Segment*)object)->segment);
  free_object(object);
}

static PyMemberDef segment_members[] = {
    {"address", T_ULONG, offsetof(Segment, segment.object), READONLY, NULL}, {0}};
static PyType_Slot segment_slots[] = {{Py_tp_new, (void*)segment_new},
                                      {Py_tp_dealloc, (void*)segment_dealloc},
                                      {Py_tp_members, segment_members},
                                      {0, NULL}};
static PyType_Spec segment_spec = {"heirlock._heirlock.Segment", sizeof(Segment), 0, Py_TPFLAGS_DEFAULT,
                                   segment_slots};

static PyObject* remove_segment(PyObject* module, PyObject* arguments) {
  const char* name;
  (void)module;
  if (!PyArg_ParseTuple(arguments, "s", &name)) return NULL;
  const heirlock_outcome outcome = heirlock_segment_remove(name);
  if (outcome < 0 && outcome != heirlock_file_missing) return raise_refusal(outcome);
  return PyBool_FromLong(outcome == heirlock_done);
}

// --- Acquiring ---

typedef struct Lock {
  PyObject ob_base;
  heirlock_lock* lock;  // null until use()
  PyObject* memory;     // keeps it mapped
  PyObject* place;      // for other processes: a name, an offset in a Mapping, or None
} Lock;

COLD static void raise_unmade(PyObject* self) {
  PyErr_Format(PyExc_RuntimeError,
               "heirlock: this %R has no lock yet; call super().__init__() in its __init__()",
               (PyObject*)Py_TYPE(self));
}

// Null, with an exception, if __init__() has not been called.
static inline heirlock_lock* lock_of(PyObject* self) {
  heirlock_lock* const lock = ((Lock*)self)->lock;
  if (UNLIKELY(lock == NULL)) raise_unmade(self);
  return lock;
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * one_second + time.tv_nsec;
}

// Waits without the GIL and runs signal handlers meanwhile. Returns interrupted if one raises an exception.
COLD static int wait_for(heirlock_lock* lock, int64_t nanoseconds) {
  const int64_t start = now();
  const int64_t deadline = nanoseconds < for_ever - start ? start + nanoseconds : for_ever;
  // A signal just before the sleep does not end the sleep, so the thread also looks for signals at intervals:
  // often at first, as most such signals come early.
  for (int64_t slice = 4000000;; slice = slice < one_second ? 2 * slice : 2 * one_second) {
    if (PyErr_CheckSignals() != 0) return heirlock_interrupted;
    const int64_t look = now() + slice;
    const int64_t until = look < deadline ? look : deadline;
    heirlock_outcome outcome;
    Py_BEGIN_ALLOW_THREADS outcome = heirlock_acquire_interruptible(lock, until);
    Py_END_ALLOW_THREADS if (outcome == heirlock_not_acquired && until == deadline) return outcome;
    if (outcome != heirlock_not_acquired && outcome != heirlock_interrupted) return outcome;
  }
}

// Goes on after a try with this outcome. Returns the outcome; if below 0, an exception is set.
static int take_on(heirlock_lock* lock, int outcome, int64_t nanoseconds) {
  if (outcome == heirlock_not_acquired && nanoseconds > 0) outcome = wait_for(lock, nanoseconds);
  if (outcome < 0 && outcome != heirlock_interrupted) raise_refusal((heirlock_outcome)outcome);
  return outcome;
}

// Returns the outcome; if below 0, an exception is set.
static int take(PyObject* self, int64_t nanoseconds) {
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return heirlock_invalid_argument;
  return take_on(lock, heirlock_try_acquire(lock), nanoseconds);
}

// Calls recover(). Returns whether the caller owns the lock; if not, an exception is set.
COLD static int mend(PyObject* self) {
  heirlock_lock* const lock = lock_of(self);
  PyObject* const result = PyObject_CallMethod(self, "recover", NULL);
  const uint32_t depth = heirlock_depth(lock);
  const int is_mended = result == Py_None && depth == 1;
  if (result != NULL && result != Py_None)
    PyErr_Format(PyExc_TypeError,
                 "heirlock: recover() of %R returned %R, not None; it must do its work before it returns, so "
                 "make it neither a coroutine nor a generator",
                 (PyObject*)Py_TYPE(self), result);
  else if (result != NULL && depth != 1)
    PyErr_Format(
        PyExc_RuntimeError,
        "heirlock: recover() of %R left the lock at depth %lu, not 1; release the lock there as often as "
        "acquire it",
        (PyObject*)Py_TYPE(self), (unsigned long)depth);
  Py_XDECREF(result);
  if (is_mended) {
    heirlock_repaired(lock);
    return 1;
  }
  while (heirlock_depth(lock) > 0) heirlock_release(lock);  // OWNER_DIED stays set
  return 0;
}

COLD static int take_whole_on(PyObject* self, int outcome, int64_t nanoseconds) {
  outcome = take_on(((Lock*)self)->lock, outcome, nanoseconds);
  if (outcome == heirlock_inherited && !mend(self)) return -1;
  return outcome < 0 ? -1 : outcome != heirlock_not_acquired;
}

// As take(), but calls recover() after a death. Returns 1 if the caller owns the lock, 0 if not, -1 with an
// exception.
static inline int take_whole(PyObject* self, int64_t nanoseconds) {
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return -1;
  const int outcome = heirlock_try_acquire(lock);
  if (UNLIKELY(outcome != heirlock_acquired && outcome != heirlock_reentered))
    return take_whole_on(self, outcome, nanoseconds);
  return 1;
}

// Converts seconds, any real number, to nanoseconds, rounded up. Returns 0, or -1 with an exception.
COLD static int read_timeout(PyObject* timeout, int64_t* nanoseconds) {
  double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1 && PyErr_Occurred()) {
    if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
    PyErr_Clear();
    PyObject* const zero = PyLong_FromLong(0);
    const int is_negative = zero == NULL ? -1 : PyObject_RichCompareBool(timeout, zero, Py_LT);
    Py_XDECREF(zero);
    if (is_negative < 0) return -1;
    seconds = is_negative ? -HUGE_VAL : HUGE_VAL;
  }
  if (seconds != seconds) {
    PyErr_SetString(PyExc_ValueError,
                    "heirlock: the timeout is not a number; give seconds, or None to wait for ever");
    return -1;
  }
  if (seconds <= 0) {
    *nanoseconds = no_wait;
  } else if (seconds >= 9e9) {  // 285 years: 63 bits of nanoseconds hold little more
    *nanoseconds = for_ever;
  } else {
    *nanoseconds = (int64_t)(seconds * 1e9);
    if ((double)*nanoseconds < seconds * 1e9) ++*nanoseconds;
  }
  return 0;
}

// (blocking=True, timeout=None) as for multiprocessing's locks, which call `blocking` `block`.
COLD static int read_arguments(PyObject* const* arguments, Py_ssize_t count, PyObject* names,
                               int64_t* nanoseconds) {
  PyObject* given[2] = {NULL, NULL};  // blocking, timeout
  const Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
  if (count > 2) {
    PyErr_Format(PyExc_TypeError, "heirlock: %zd arguments are too many; give at most blocking and timeout",
                 count);
    return -1;
  }
  for (Py_ssize_t i = 0; i < count + named; ++i) {
    Py_ssize_t place = i;
    if (i >= count) {
      PyObject* const name = PyTuple_GetItem(names, i - count);
      if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0)
        place = 1;
      else if (PyUnicode_CompareWithASCIIString(name, "blocking") == 0 ||
               PyUnicode_CompareWithASCIIString(name, "block") == 0)
        place = 0;
      else
        place = 2;
      if (place == 2 || given[place] != NULL) {
        PyErr_Format(PyExc_TypeError, "heirlock: the argument '%U' is %s; give blocking and timeout", name,
                     place == 2 ? "unknown" : "given twice");
        return -1;
      }
    }
    given[place] = arguments[i];
  }
  const int is_blocking = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
  if (is_blocking < 0) return -1;
  *nanoseconds = is_blocking ? for_ever : no_wait;
  if (!is_blocking || given[1] == NULL || given[1] == Py_None) return 0;
  return read_timeout(given[1], nanoseconds);
}

static inline PyObject* acquire_for(PyObject* self, int64_t nanoseconds) {
  const int is_taken = take_whole(self, nanoseconds);
  if (UNLIKELY(is_taken < 0)) return NULL;
  PyObject* const result = is_taken ? Py_True : Py_False;
  Py_INCREF(result);
  return result;
}

COLD static PyObject* acquire_with(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                   PyObject* names) {
  int64_t nanoseconds;
  return read_arguments(arguments, count, names, &nanoseconds) != 0 ? NULL : acquire_for(self, nanoseconds);
}

static PyObject* lock_acquire(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  if (count == 0 && names == NULL) return acquire_for(self, for_ever);
  return acquire_with(self, arguments, count, names);
}

static PyObject* lock_acquire_result(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                     PyObject* names) {
  int64_t nanoseconds = for_ever;
  if (read_arguments(arguments, count, names, &nanoseconds) != 0) return NULL;
  const int outcome = take(self, nanoseconds);
  if (outcome < 0) return NULL;
  Py_INCREF(acquire_results[outcome]);
  return acquire_results[outcome];
}

static PyObject* lock_enter(PyObject* self, PyObject* unused) {
  (void)unused;
  if (UNLIKELY(take_whole(self, for_ever) < 0)) return NULL;
  Py_INCREF(self);
  return self;
}

// --- Releasing ---

static PyObject* lock_release(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  (void)arguments;
  if (UNLIKELY(count != 0)) {
    PyErr_SetString(PyExc_TypeError, "heirlock: release() takes no arguments; give none");
    return NULL;
  }
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  const heirlock_outcome outcome = heirlock_release(lock);
  if (UNLIKELY(outcome < 0)) return raise_refusal(outcome);
  Py_RETURN_NONE;
}

static PyObject* lock_exit(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  const heirlock_outcome outcome = heirlock_release(lock);
  // Do not hide an exception that says how the lock was lost, as in a wait for a condition.
  if (UNLIKELY(outcome < 0) && (count == 0 || arguments[0] == Py_None)) return raise_refusal(outcome);
  Py_RETURN_NONE;
}

static PyObject* lock_repaired(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  const heirlock_outcome outcome = heirlock_repaired(lock);
  if (outcome < 0) return raise_refusal(outcome);
  Py_RETURN_NONE;
}

static PyObject* lock_recover(PyObject* self, PyObject* unused) {
  (void)unused;
  PyObject* const error = PyObject_CallFunction(
      owner_died_error, "is", EOWNERDEAD,
      "heirlock: an owner died, and recover() is not overridden; override it to repair the data, with an "
      "empty "
      "body if no data can be half-written, or call acquire_result(), repair the data and call repaired()");
  (void)self;
  if (error != NULL) PyErr_SetObject(owner_died_error, error);
  Py_XDECREF(error);
  return NULL;
}

// --- Methods that Condition calls ---

// Releases all levels and returns their number.
static PyObject* lock_release_save(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  const uint32_t depth = heirlock_depth(lock);
  heirlock_outcome outcome = heirlock_release(lock);
  if (outcome < 0) return raise_refusal(outcome);
  for (uint32_t left = depth - 1; left > 0; --left) heirlock_release(lock);
  return PyLong_FromUnsignedLong(depth);
}

// Acquires them again. The caller of Condition.wait() owns the lock afterwards in any case: an exception of a
// signal handler is raised once the lock is acquired.
static PyObject* lock_acquire_restore(PyObject* self, PyObject* saved) {
  heirlock_lock* const lock = lock_of(self);
  const unsigned long depth = PyLong_AsUnsignedLong(saved);
  PyObject *type = NULL, *value = NULL, *traceback = NULL;
  int outcome = heirlock_interrupted;
  if (lock == NULL || (depth == (unsigned long)-1 && PyErr_Occurred())) return NULL;
  while ((outcome = take(self, for_ever)) == heirlock_interrupted) {
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    PyErr_Fetch(&type, &value, &traceback);
  }
  const int is_held = outcome > 0 && (outcome != heirlock_inherited || mend(self));
  for (unsigned long i = 1; is_held && i < depth; ++i)
    if (heirlock_try_acquire(lock) < 0) break;  // `saved` was not from _release_save()
  if (is_held && type != NULL) {
    PyErr_Restore(type, value, traceback);
    return NULL;
  }
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(traceback);
  if (!is_held) return NULL;
  Py_RETURN_NONE;
}

// --- Queries ---

static PyObject* lock_owner(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  return PyLong_FromLong(heirlock_owner(lock));
}

static PyObject* lock_depth(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  return PyLong_FromUnsignedLong(heirlock_depth(lock));
}

static PyObject* lock_is_owned(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  return PyBool_FromLong(heirlock_depth(lock) != 0);
}

static PyObject* lock_needs_repair(PyObject* self, PyObject* unused) {
  (void)unused;
  heirlock_lock* const lock = lock_of(self);
  if (UNLIKELY(lock == NULL)) return NULL;
  return PyBool_FromLong(heirlock_needs_repair(lock));
}

// --- The object ---

// use(object, address, memory, place): gives the object the lock at this address, in `memory`.
static PyObject* use(PyObject* module, PyObject* arguments) {
  PyObject* object = NULL;
  unsigned long address = 0;
  PyObject *memory = NULL, *place = NULL;
  (void)module;
  if (!PyArg_ParseTuple(arguments, "O!kOO", lock_type, &object, &address, &memory, &place)) return NULL;
  Lock* const self = (Lock*)object;
  if (self->lock != NULL) {
    PyErr_Format(PyExc_RuntimeError, "heirlock: this %R has a lock already; give it one name",
                 (PyObject*)Py_TYPE(object));
    return NULL;
  }
  if (address == 0 || address % sizeof(uint64_t) != 0) {
    PyErr_Format(PyExc_ValueError, "heirlock: no lock can be at %p; use an offset that is a multiple of 8",
                 (void*)address);
    return NULL;
  }
  Py_INCREF(memory);
  Py_INCREF(place);
  self->lock = (heirlock_lock*)address;
  self->memory = memory;
  self->place = place;
  Py_RETURN_NONE;
}

static void lock_dealloc(PyObject* object) {
  Lock* const self = (Lock*)object;
  // A lock that is not free keeps its memory: to unmap that would break the owner's robust list, and its
  // other locks would not be released when it dies. (A free lock stays free, as this process has no other
  // handle.)
  if (self->lock != NULL && heirlock_owner(self->lock) == 0) Py_DECREF(self->memory);
  Py_XDECREF(self->place);
  free_object(object);
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
static PyMethodDef lock_methods[] = {
    {"acquire", KEYWORDS(lock_acquire),
     "acquire($self, /, blocking=True, timeout=None)\n--\n\n"
     "Acquire the lock and return whether the caller owns it now.\n\n"
     "If `blocking`, wait for the lock: for ever, or for `timeout` seconds (any real number;\n"
     "a negative one counts as zero). Unless `blocking`, the timeout is ignored. `block` is\n"
     "another name for `blocking`. Signal handlers run during the wait; an exception of\n"
     "theirs ends it.\n\n"
     "If an owner has died, call recover(). If that raises, so does acquire(), and the\n"
     "caller does not own the lock."},
    {"acquire_result", KEYWORDS(lock_acquire_result),
     "acquire_result($self, /, blocking=True, timeout=None)\n--\n\n"
     "Acquire the lock as acquire() does, but return `inherited` instead of calling recover().\n\n"
     "Returns an AcquireResult. After `inherited`, repair the data, then call repaired().\n"
     "Until then every later acquire inherits, too."},
    {"release", (PyCFunction)(void (*)(void))lock_release, METH_FASTCALL,
     "release($self, /)\n--\n\n"
     "Undo one acquire. The last release frees the lock.\n\n"
     "Raises NotOwnerError unless the calling thread owns the lock."},
    {"repaired", lock_repaired, METH_NOARGS,
     "repaired($self, /)\n--\n\n"
     "Declare that the data under the lock is consistent again: the next owner does not inherit.\n\n"
     "Raises NotOwnerError unless the calling thread owns the lock."},
    {"recover", lock_recover, METH_NOARGS,
     "recover($self, /)\n--\n\n"
     "Repair the shared data after the death of an owner. Override this method.\n\n"
     "The acquire that inherits the lock calls it, with the lock held at depth 1. It may call\n"
     "locked methods. A method may have been killed half-way: finish its work, undo it, or\n"
     "reset the data. An empty body declares that no data can be half-written. If recover()\n"
     "raises, the lock is released, and the next acquire calls it again. The default raises\n"
     "OwnerDiedError."},
    {"owner", lock_owner, METH_NOARGS,
     "owner($self, /)\n--\n\n"
     "The owner's thread id, as threading.get_native_id() returns it; 0 if the lock is free."},
    {"depth", lock_depth, METH_NOARGS,
     "depth($self, /)\n--\n\n"
     "How often the calling thread must call release() to free the lock; 0 unless it owns it."},
    {"needs_repair", lock_needs_repair, METH_NOARGS,
     "needs_repair($self, /)\n--\n\n"
     "Whether an owner died and nobody has called repaired() since."},
    {"__enter__", lock_enter, METH_NOARGS,
     "__enter__($self, /)\n--\n\nacquire(), and return the lock itself."},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL,
     "__exit__($self, /, *exception)\n--\n\nrelease()."},
    {"_release_save", lock_release_save, METH_NOARGS, NULL},
    {"_acquire_restore", lock_acquire_restore, METH_O, NULL},
    {"_is_owned", lock_is_owned, METH_NOARGS, NULL},
    {"_recursion_count", lock_depth, METH_NOARGS, NULL},
    {0}};
static PyMemberDef lock_members[] = {{"_heirlock_memory", T_OBJECT, offsetof(Lock, memory), READONLY, NULL},
                                     {"_heirlock_place", T_OBJECT, offsetof(Lock, place), READONLY, NULL},
                                     {0}};
static PyType_Slot lock_slots[] = {{Py_tp_dealloc, (void*)lock_dealloc},
                                   {Py_tp_methods, lock_methods},
                                   {Py_tp_members, lock_members},
                                   {0, NULL}};
static PyType_Spec lock_spec = {"heirlock._heirlock.Lock", sizeof(Lock), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lock_slots};

// --- The decorator ---

// Vectorcall. The limited API has it since 3.12; these declarations also fit 3.10 and 3.11. In 3.10
// call_by_vector is null, and the interpreter calls with a tuple.
typedef PyObject* VectorCall(PyObject*, PyObject* const*, size_t, PyObject*);
#define HAS_VECTORCALL (1UL << 11)
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))
static VectorCall* call_by_vector;

// A function that holds the lock that is its first argument. As a class attribute it is a method.
typedef struct Locked {
  PyObject ob_base;
  PyObject *function, *dictionary, *weak_references;
  VectorCall* vectorcall;
} Locked;

static VectorCall locked_vectorcall;

static PyObject* locked_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  PyObject* function;
  (void)keywords;
  if (!PyArg_ParseTuple(arguments, "O", &function)) return NULL;
  Locked* const self = (Locked*)PyType_GenericAlloc(type, 0);
  if (self == NULL) return NULL;
  Py_INCREF(function);
  self->function = function;
  self->vectorcall = call_by_vector == NULL ? NULL : locked_vectorcall;
  return (PyObject*)self;
}

// Acquires the lock that is the first argument. Null, with an exception, if that fails.
static inline heirlock_lock* lock_for(PyObject* self, PyObject* first) {
  if (UNLIKELY(first == NULL || !PyObject_TypeCheck(first, lock_type))) {
    PyErr_Format(PyExc_TypeError, "heirlock: the first argument of %R is %R; give a Lock or a Lockable",
                 ((Locked*)self)->function, first == NULL ? Py_None : first);
    return NULL;
  }
  return UNLIKELY(take_whole(first, for_ever) < 0) ? NULL : ((Lock*)first)->lock;
}

static inline PyObject* unlocked(heirlock_lock* lock, PyObject* result) {
  const heirlock_outcome outcome = heirlock_release(lock);
  if (UNLIKELY(outcome < 0) && result != NULL) {  // the method has released the lock itself
    Py_DECREF(result);
    return raise_refusal(outcome);
  }
  return result;
}

static PyObject* locked_call(PyObject* self, PyObject* arguments, PyObject* keywords) {
  heirlock_lock* const lock =
      lock_for(self, PyTuple_Size(arguments) > 0 ? PyTuple_GetItem(arguments, 0) : NULL);
  return lock == NULL ? NULL : unlocked(lock, PyObject_Call(((Locked*)self)->function, arguments, keywords));
}

static PyObject* locked_vectorcall(PyObject* self, PyObject* const* arguments, size_t count,
                                   PyObject* names) {
  heirlock_lock* const lock = lock_for(self, (count & ~ARGUMENTS_OFFSET) > 0 ? arguments[0] : NULL);
  return lock == NULL ? NULL
                      : unlocked(lock, call_by_vector(((Locked*)self)->function, arguments, count, names));
}

static PyObject* locked_get(PyObject* self, PyObject* object, PyObject* type) {
  (void)type;
  if (object != NULL && object != Py_None)
    return PyObject_CallFunctionObjArgs(bound_method, self, object, NULL);
  Py_INCREF(self);
  return self;
}

static PyObject* locked_reduce(PyObject* self, PyObject* unused) {
  (void)unused;
  return PyObject_GetAttrString(self, "__qualname__");  // pickle finds it by this name in its module
}

static PyObject* locked_repr(PyObject* self) {
  return PyUnicode_FromFormat("<locked %R>", ((Locked*)self)->function);
}

static int locked_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(((Locked*)self)->function);
  Py_VISIT(((Locked*)self)->dictionary);
  return 0;
}

static int locked_clear(PyObject* self) {
  Py_CLEAR(((Locked*)self)->function);
  Py_CLEAR(((Locked*)self)->dictionary);
  return 0;
}

static void locked_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  if (((Locked*)self)->weak_references != NULL) PyObject_ClearWeakRefs(self);
  locked_clear(self);
  free_object(self);
}

static PyMethodDef locked_methods[] = {{"__reduce__", locked_reduce, METH_NOARGS, NULL}, {0}};
static PyMemberDef locked_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Locked, dictionary), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Locked, weak_references), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Locked, vectorcall), READONLY, NULL},
    {0}};
static PyGetSetDef locked_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}, {0}};
static PyType_Slot locked_slots[] = {{Py_tp_new, (void*)locked_new},
                                     {Py_tp_dealloc, (void*)locked_dealloc},
                                     {Py_tp_traverse, (void*)locked_traverse},
                                     {Py_tp_clear, (void*)locked_clear},
                                     {Py_tp_call, (void*)locked_call},
                                     {Py_tp_descr_get, (void*)locked_get},
                                     {Py_tp_repr, (void*)locked_repr},
                                     {Py_tp_methods, locked_methods},
                                     {Py_tp_members, locked_members},
                                     {Py_tp_getset, locked_attributes},
                                     {0, NULL}};
static PyType_Spec locked_spec = {
    "heirlock._heirlock.Locked", sizeof(Locked), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_METHOD_DESCRIPTOR | HAS_VECTORCALL, locked_slots};

// --- The module ---

// Adds the object unless it is null, and never frees it. Returns whether it did.
static int add(PyObject* module, const char* name, PyObject* object) {
  Py_XINCREF(object);
  return object != NULL && PyModule_AddObject(module, name, object) == 0;
}

static PyObject* make_exception(const char* name, const char* description, PyObject* first,
                                PyObject* second) {
  PyObject* const bases = second == NULL ? PyTuple_Pack(1, first) : PyTuple_Pack(2, first, second);
  PyObject* const made = bases == NULL ? NULL : PyErr_NewExceptionWithDoc(name, description, bases, NULL);
  Py_XDECREF(bases);
  return made;
}

// Imports the module and returns its attribute.
static PyObject* from_module(const char* module_name, const char* name) {
  PyObject* const module = PyImport_ImportModule(module_name);
  PyObject* const found = module == NULL ? NULL : PyObject_GetAttrString(module, name);
  Py_XDECREF(module);
  return found;
}

// set_results(results): the AcquireResult of each outcome.
static PyObject* set_results(PyObject* module, PyObject* results) {
  (void)module;
  for (int i = 0; i <= heirlock_inherited; ++i)
    if ((acquire_results[i] = PySequence_GetItem(results, i)) == NULL) return NULL;
  Py_RETURN_NONE;
}

// The static variables belong to one interpreter. Up to Python 3.12 an import into another interpreter does
// not call PyInit__heirlock().
static PyObject* require_main(PyObject* module, PyObject* unused) {
  (void)module;
  (void)unused;
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) Py_RETURN_NONE;
  PyErr_SetString(PyExc_ImportError,
                  "heirlock: this is a subinterpreter; import heirlock in the main interpreter");
  return NULL;
}

static PyMethodDef functions[] = {{"remove", remove_segment, METH_VARARGS, NULL},
                                  {"use", use, METH_VARARGS, NULL},
                                  {"set_results", set_results, METH_O, NULL},
                                  {"require_main", require_main, METH_NOARGS, NULL},
                                  {0}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_heirlock", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__heirlock(void) {
  PyObject* const is_main = require_main(NULL, NULL);
  if (is_main == NULL) return NULL;
  Py_DECREF(is_main);
  PyObject* const module = PyModule_Create(&definition);
  if (module == NULL) return NULL;
  lock_type = (PyTypeObject*)PyType_FromSpec(&lock_spec);
  locked_type = (PyTypeObject*)PyType_FromSpec(&locked_spec);
  bound_method = from_module("types", "MethodType");
  call_by_vector = (VectorCall*)dlsym(RTLD_DEFAULT, "PyObject_Vectorcall");
  not_owner_error = make_exception("heirlock.NotOwnerError",
                                   "The calling thread does not own the lock.\n\n"
                                   "multiprocessing.RLock raises AssertionError, threading.RLock "
                                   "RuntimeError; this is both.",
                                   PyExc_AssertionError, PyExc_RuntimeError);
  owner_died_error = make_exception(
      "heirlock.OwnerDiedError",
      "An owner of the lock died, and nobody has repaired the data since. Its errno is EOWNERDEAD.",
      PyExc_OSError, NULL);
  if (!add(module, "Lock", (PyObject*)lock_type) || !add(module, "Locked", (PyObject*)locked_type) ||
      !add(module, "Mapping", PyType_FromSpec(&mapping_spec)) ||
      !add(module, "Segment", PyType_FromSpec(&segment_spec)) || bound_method == NULL ||
      !add(module, "NotOwnerError", not_owner_error) || !add(module, "OwnerDiedError", owner_died_error) ||
      PyModule_AddStringConstant(module, "__version__", heirlock_version()) != 0) {
    Py_DECREF(module);
    return NULL;
  }
  return module;
}
