"""heirlock for Python, by way of its C interface.

    class Counter(heirlock.Lockable):
        def __init__(self):
            super().__init__()
            self._value = multiprocessing.RawValue("i", 0)  # live state must be shared as well

        @heirlock.Lockable.locked
        def increment(self):
            self._value.value += 1

        @heirlock.Lockable.locked
        def increment_twice(self):  # a locked method may call another
            self.increment()
            self.increment()

        def recover(self):
            pass  # a number is never half-written

A `Lockable` is used like one built on multiprocessing.RLock, by threads and by processes, forked or spawned. Beyond that, when
its owner is killed the next one to acquire runs `recover()` and goes on; and `Lockable(name)` is one lock for all programs of a
user, in C++ or C as well. `Lock` is the lock itself, for those who mend what it guards in another way.

The shared library is $HEIRLOCK_LIBRARY, a path, or else libheirlock_c.so.0.1, wherever the system finds it.
"""
import ctypes
import enum
import errno
import functools
import math
import mmap
import os
import threading
import time
import weakref
from multiprocessing import context, reduction

INTERFACE = "0.1"  # the versions of the library that this module knows
SLICE = 200_000_000  # nanoseconds; see _wait()


class Outcome(enum.IntEnum):
    """What a call came to: heirlock_outcome of heirlock/heirlock.h, which says more. False is what waited in vain."""
    not_acquired = 0
    acquired = 1
    reentered = 2
    inherited = 3
    done = 4
    not_owner = -1
    recursion_too_deep = -2
    foreign_pid_namespace = -3
    unsupported_platform = -4
    layout_mismatch = -5
    not_trusted = -6
    invalid_name = -7
    invalid_argument = -8
    file_exists = -9
    file_missing = -10
    no_memory = -11
    system_error = -12


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}  # looked up faster than Outcome(number)

_EXCEPTIONS = {
    Outcome.not_owner: AssertionError,
    Outcome.recursion_too_deep: RecursionError,
    Outcome.invalid_name: ValueError,
    Outcome.invalid_argument: ValueError,
    Outcome.no_memory: MemoryError,
}  # the others are an OSError


class _Segment(ctypes.Structure):
    _fields_ = [("object", ctypes.c_void_p), ("mapping", ctypes.c_void_p), ("mapping_size", ctypes.c_uint64)]


_SIZE, _ALIGNMENT, _TYPE = 40, 8, b"N8heirlock13ReentrantLockE"
_FOR_EVER = 2**63 - 1
_LIBRARY = os.environ.get("HEIRLOCK_LIBRARY", f"libheirlock_c.so.{INTERFACE}")
try:
    ctypes.CDLL(_LIBRARY).heirlock_acquire_until
except (OSError, AttributeError) as error:
    raise ImportError(f"heirlock: found no library as {_LIBRARY} ({error}), expected libheirlock_c.so.{INTERFACE}; set HEIRLOCK_LIBRARY "
                      "to its path") from error
_waiting = ctypes.CDLL(_LIBRARY)  # a call lets go of Python's global lock, so that other threads go on
_library = ctypes.PyDLL(_LIBRARY)  # a call keeps it: for those that do not wait
_libc = ctypes.CDLL(None, use_errno=True)


def _function(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_acquire_until = _function(_waiting, "heirlock_acquire_until", ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_try_acquire = _function(_library, "heirlock_try_acquire", ctypes.c_int, ctypes.c_void_p)
_release = _function(_library, "heirlock_release", ctypes.c_int, ctypes.c_void_p)
_repaired = _function(_library, "heirlock_repaired", ctypes.c_int, ctypes.c_void_p)
_owner = _function(_library, "heirlock_owner", ctypes.c_int32, ctypes.c_void_p)
_depth = _function(_library, "heirlock_depth", ctypes.c_uint32, ctypes.c_void_p)
_needs_repair = _function(_library, "heirlock_needs_repair", ctypes.c_int32, ctypes.c_void_p)
_segment_openers = {
    how: _function(_library, f"heirlock_segment_{how}", ctypes.c_int, ctypes.POINTER(_Segment), ctypes.c_char_p,
                   ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p)
    for how in ("create", "open", "open_or_create")}
_segment_close = _function(_library, "heirlock_segment_close", ctypes.c_int, ctypes.POINTER(_Segment))
_segment_remove = _function(_library, "heirlock_segment_remove", ctypes.c_int, ctypes.c_char_p)
_last_message = _function(_library, "heirlock_last_message", ctypes.c_char_p)
_errno = _function(_library, "heirlock_errno", ctypes.c_int32, ctypes.c_int32)
_mmap = _function(_libc, "mmap", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                  ctypes.c_long)
_munmap = _function(_libc, "munmap", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)

version = _function(_library, "heirlock_version", ctypes.c_char_p)().decode()
if not version.startswith(INTERFACE + "."):
    raise ImportError(f"heirlock: found version {version} in {_LIBRARY}, expected {INTERFACE}; set HEIRLOCK_LIBRARY to its path")


def _refusal(outcome):
    """The exception for an outcome below 0, which it has as `outcome`."""
    message = _last_message().decode(errors="replace")
    if outcome in _EXCEPTIONS:
        error = _EXCEPTIONS[outcome](message)
    else:
        error = OSError(_errno(outcome), message)
    error.outcome = _OUTCOMES[outcome]
    return error


def _checked(outcome):
    if outcome < 0:
        raise _refusal(outcome)
    return _OUTCOMES[outcome]


def remove(name):
    """Takes the name of a lock away. Those who have the lock keep it. Returns whether there was one."""
    outcome = _segment_remove(_encoded(name))
    return outcome != Outcome.file_missing and bool(_checked(outcome))


def _encoded(name):
    if "\0" in name:  # where C would end it
        raise ValueError(f"heirlock: found the name {name!r}, expected 1 to 200 letters, digits, '.', '-' and '_'")
    return name.encode(errors="surrogateescape")


class Lock:
    """A process-shared, reentrant lock that the next owner inherits when its owner dies. An owner is a thread of a process.

    Lock() is shared with the children of this process, forked or spawned, to which it is given as multiprocessing's locks are.
    It takes a file descriptor and a page of memory. Lock(name) is the same in all programs of the user; it lives until
    remove(name).

    A lock that is collected while a thread of the process holds it stays held, until that thread ends and the next owner
    inherits.
    """

    _name = _descriptor = None

    def __init__(self, name=None):
        if name is None:
            self._use_file(os.memfd_create("heirlock"))
        else:
            self._use_segment("open_or_create", name)

    @classmethod
    def create(cls, name):
        """A new lock with this name; FileExistsError if it is taken."""
        return cls._made(cls._use_segment, "create", name)

    @classmethod
    def open(cls, name):
        """The lock with this name; FileNotFoundError if there is none."""
        return cls._made(cls._use_segment, "open", name)

    @classmethod
    def at(cls, memory, offset=0):
        """The lock in `memory`, a writable buffer that is shared, such as an mmap: 40 bytes, aligned to 8. Zeros are a free lock.
        It cannot be closed meanwhile."""
        return cls._made(cls._use_memory, memory, offset)

    @classmethod
    def _made(cls, use, *arguments):
        lock = cls.__new__(cls)
        use(lock, *arguments)
        return lock

    def acquire(self, timeout=None):
        """Waits until the lock is the caller's, or for `timeout` seconds if that is not None; zero or less tries once. Returns
        Outcome.acquired, reentered, inherited or not_acquired. A signal's handler runs meanwhile, and what it raises ends the
        wait."""
        deadline = _FOR_EVER if timeout is None else _deadline(timeout)
        return self._acquired(lambda: _try_acquire(self._address) or _wait(self._address, deadline))

    def try_acquire(self):
        """Takes the lock if that needs no waiting. Returns as acquire()."""
        return self._acquired(lambda: _try_acquire(self._address))

    def _acquired(self, call):
        """Python runs the handlers of signals behind any call: the lock may have come when one raises, and is given back."""
        depth = _depth(self._address)
        try:
            return _checked(call())
        except BaseException:
            if _depth(self._address) > depth:
                _release(self._address)
            raise

    def release(self):
        """Gives back one acquire; the last one frees the lock. AssertionError unless the caller owns it."""
        outcome = _release(self._address)
        if outcome < 0:
            raise _refusal(outcome)

    def repaired(self):
        """Declares whole what the lock guards: the next owner does not inherit. AssertionError unless the caller owns it."""
        _checked(_repaired(self._address))

    def owner(self):
        """The thread id of the owner, as threading.get_native_id() gives it; 0 when the lock is free."""
        return _owner(self._address)

    def depth(self):
        """How many releases the calling thread owes."""
        return _depth(self._address)

    def needs_repair(self):
        """Whether an owner died, or gave the lock up unrepaired, and nobody has called repaired() since."""
        return bool(_needs_repair(self._address))

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exception):
        self.release()

    def __copy__(self, *memo):
        raise TypeError(f"heirlock: found a copy of a {type(self).__name__}, expected one lock; share this one")

    __deepcopy__ = __copy__

    def __reduce__(self):
        """To a child that is being spawned. The memory of a lock without a name is a file without a name, whose descriptor the
        child is given: so it is gone with its last user, however they end."""
        context.assert_spawning(self)
        if self._name is not None:
            return Lock.open, (self._name,)
        if self._descriptor is not None:
            return _received, (reduction.DupFd(self._descriptor),)
        raise TypeError("heirlock: found a lock in memory of the program's own, expected one with a name or a memory of its own; "
                        "give the memory to the child, and use Lock.at() there")

    def _use_file(self, descriptor):
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor).atexit = False
        os.ftruncate(descriptor, _SIZE)
        address = _mmap(None, _SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._use_address(address, _unmap, address)

    def _use_segment(self, how, name):
        segment = _Segment()
        _checked(_segment_openers[how](segment, _encoded(name), _SIZE, _ALIGNMENT, _TYPE))
        self._name = name
        self._use_address(segment.object, _unmap_segment, segment)

    def _use_memory(self, memory, offset):
        view = (ctypes.c_char * _SIZE).from_buffer(memory, offset)  # keeps the memory from being closed
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(view))
        self._use_address(ctypes.addressof(view), _let_go, ctypes.addressof(view), id(view))

    def _use_address(self, address, unmap, *arguments):
        self._address = address
        weakref.finalize(self, unmap, *arguments).atexit = False


# Memory that is unmapped while a thread holds the lock in it would tear that thread's list of locks, and the kernel would not
# find the others at its end. So what is not free stays. (What is free cannot be taken any more: nobody here has the lock.)

def _unmap(address):
    if _owner(address) == 0:
        _munmap(address, _SIZE)


def _let_go(address, view):
    if _owner(address) == 0:
        ctypes.pythonapi.Py_DecRef(ctypes.cast(view, ctypes.py_object))


def _unmap_segment(segment):
    if _owner(segment.object) == 0:
        _segment_close(segment)


def _received(duplicate):
    descriptor = duplicate.detach()
    os.set_inheritable(descriptor, False)
    return Lock._made(Lock._use_file, descriptor)


def _deadline(timeout):
    """The moment `timeout` seconds from now, on CLOCK_MONOTONIC."""
    if timeout != timeout:
        raise ValueError("heirlock: found a timeout that is not a number, expected seconds, or None to wait for ever")
    if timeout >= 9e9:  # 285 years: more than 63 bits of nanoseconds hold
        return _FOR_EVER
    return time.monotonic_ns() + math.ceil(max(timeout, 0) * 1e9)


def _wait(address, deadline):
    """Python runs the handlers of signals in the main thread, and only between two calls. So this thread waits in slices, and
    Ctrl-C ends the wait."""
    in_main_thread = threading.get_ident() == threading.main_thread().ident
    while True:
        until = min(deadline, time.monotonic_ns() + SLICE) if in_main_thread else deadline
        outcome = _acquire_until(address, until)
        if outcome != 0 or until == deadline:
            return outcome


class Lockable:
    """A base class for objects whose methods are called from many threads and processes: decorate each such method with
    Lockable.locked. The object itself is each process's own; the lock is shared, and what the object keeps must be too.

    Lockable() has a lock of its own, for the children of this process, forked or spawned. Lockable(name) has that of all
    programs which give this name; it lives until remove(name).
    """

    def __init__(self, name=None):
        self.__lock = Lock(name)

    @staticmethod
    def locked(method):
        """A method that is run while its object is locked, and unlocks it in the end, also by an exception."""
        @functools.wraps(method)
        def holding_the_lock(self, *arguments, **keywords):
            with self:
                return method(self, *arguments, **keywords)
        return holding_the_lock

    def acquire(self, blocking=True, timeout=None):
        """Takes the lock; waits for it if `blocking`, for `timeout` seconds if that is not None. Below zero counts as zero.
        Returns whether the caller has it now. What recover() raises goes to the caller, who then does not have the lock."""
        depth = self.__lock.depth()
        try:
            outcome = self.__lock.acquire(timeout) if blocking else self.__lock.try_acquire()
            if outcome is Outcome.inherited:
                self.recover()
                self.__lock.repaired()
            return outcome is not Outcome.not_acquired
        except BaseException:
            while self.__lock.depth() > depth:  # what recover() left; unrepaired, so the next owner inherits
                self.__lock.release()
            raise

    def release(self):
        """Gives back one acquire; the last one frees the lock. AssertionError unless the calling thread owns it."""
        self.__lock.release()

    def recover(self):
        """Mends the shared state after the death of an owner. Called with the lock held once, by the acquire that inherits it;
        may call locked methods. If it raises, the lock is released, and the next to acquire recovers again.

        Override it: finish the work of a method that was killed half-way, undo it, or reset the state. An empty one declares
        that nothing can be half-written. The default raises OSError with errno.EOWNERDEAD."""
        raise OSError(errno.EOWNERDEAD, f"heirlock: an owner died, and {type(self).__name__} has no recover(); override it to mend "
                      "the shared state")

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()

    __copy__ = __deepcopy__ = Lock.__copy__
