"""A reentrant, process-shared lock for Linux whose next owner inherits when its owner is killed.

See help(heirlock.Lockable) for an example. Threads and processes, forked or spawned, use a Lockable like an object with a
multiprocessing.RLock. Beyond that, when an owner is killed, the next owner runs `recover()` and goes on. `Lockable(name)` is
one lock for all programs of a user, also those in C++ and C. `Lock` is the lock alone.
"""
import copyreg
import enum
import functools
import os
import types
import weakref

from . import _heirlock

_heirlock.require_main()

from ._heirlock import Locked, Mapping, NotOwnerError, OwnerDiedError, Segment, __version__, remove as _remove, use as _use

__all__ = ["AcquireResult", "Lock", "Lockable", "NotOwnerError", "OwnerDiedError", "__version__"]


class AcquireResult(enum.Enum):
    """Result of acquire_result(). `not_acquired` is false, the others are true.

    not_acquired  the lock is busy, or the timeout has passed
    acquired      the caller owns the lock, at depth 1
    reentered     the caller owned the lock already, now one level deeper
    inherited     the caller owns the lock, at depth 1; an owner died, and the data may be half-written
    """
    not_acquired = 0
    acquired = 1
    reentered = 2
    inherited = 3

    def __bool__(self):
        return self is not AcquireResult.not_acquired


_heirlock.set_results(list(AcquireResult))


class Lock(_heirlock.Lock):
    """A process-shared, reentrant lock. When its owner dies, the next owner inherits it. An owner is a thread of a process.

    Lock() is shared with the children of this process. Forked children have it already; pass it to spawned children as you
    pass multiprocessing's locks. Lock(name) is one lock for all programs of the user. It lives until Lock.remove(name).

    If an owner has died, acquire(), `with` and locked methods call recover(). It raises OwnerDiedError unless a subclass
    overrides it. acquire_result() returns `inherited` instead.

    If the garbage collector frees a lock object while a thread holds the lock, the lock stays held until that thread ends.
    """

    def __init__(self, name=None, **others):
        """`others` go to the next base class."""
        if others and getattr(super().__init__, "__objclass__", None) is object:  # before the name is made
            raise TypeError(f"heirlock: the argument {next(iter(others))!r} is unknown; give at most a name")
        if name is not None:
            _use_segment(self, "open_or_create", name)
        elif self._heirlock_memory is None:  # create(), open() and at() have given it one
            arena, offset = _new_place()
            _use(self, arena.address + offset, arena, offset)
        super().__init__(**others)

    @classmethod
    def create(cls, name, *arguments, **keywords):
        """Create a lock with this name. Raises FileExistsError if there is one. The other arguments are for __init__()."""
        return _made(cls, _use_segment, ("create", name), arguments, keywords)

    @classmethod
    def open(cls, name, *arguments, **keywords):
        """Open the lock with this name. Raises FileNotFoundError if there is none. The other arguments are for __init__()."""
        return _made(cls, _use_segment, ("open", name), arguments, keywords)

    @classmethod
    def at(cls, memory, offset=0, *arguments, **keywords):
        """Use the lock in `memory`, a writable shared buffer such as an mmap: 40 bytes, aligned to 8. All zero is a free lock.
        The buffer cannot be closed while the lock object exists. If the buffer refers to the lock object, neither is ever freed:
        the garbage collector does not see that cycle. The other arguments are for __init__()."""
        return _made(cls, _use_buffer, (memory, offset), arguments, keywords)

    @staticmethod
    def remove(name):
        """Remove the name of a lock. Processes that use the lock keep it. Returns whether there was such a name."""
        return _remove(name)

    @staticmethod
    def locked(method):
        """Decorator: the method acquires the object's lock first and releases it at the end, also after an exception.

        Raises TypeError for a coroutine or a generator, as its body runs after the call has returned."""
        import inspect  # which takes longer to import than all here
        call = type(method).__call__ if callable(method) else None
        body = inspect.unwrap(method)  # a context manager's is a generator
        if (call is None or inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(call)
                or inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body)):
            raise TypeError(f"heirlock: locked cannot hold the lock for {method!r}: it must be a function that does its "
                            "work before it returns; in a coroutine or a generator use `with self:` around code without await "
                            "and yield")
        return functools.update_wrapper(Locked(method), method)

    def __repr__(self):  # as that of threading.RLock
        kind, place = f"{type(self).__module__}.{type(self).__qualname__} object", f"at {id(self):#x}"
        if self._heirlock_memory is None:
            return f"<{kind} without a lock {place}>"
        name = f"{self._heirlock_place!r} " if isinstance(self._heirlock_place, str) else ""
        owner = Lock.owner(self)
        return (f"<{'locked' if owner else 'unlocked'} {kind} {name}owner={owner} depth={Lock.depth(self)} "
                + ("to be repaired " if Lock.needs_repair(self) else "") + f"{place}>")

    @property
    def _semlock(self):  # what multiprocessing.Condition asks
        return types.SimpleNamespace(_count=functools.partial(Lock.depth, self), _is_mine=functools.partial(Lock._is_owned, self))

    def __copy__(self, *memo):
        raise TypeError(f"heirlock: a {type(self).__name__} cannot be copied; share this one")

    __deepcopy__ = __copy__

    def __reduce__(self):
        if hasattr(self, "__getstate__"):
            state = self.__getstate__()
        else:  # Python 3.10
            state = self.__dict__, {name: getattr(self, name) for name in copyreg._slotnames(type(self)) if hasattr(self, name)}
        return _unpickled, (type(self), *_pickled_place(self)), state or None


class Lockable(Lock):
    """A base class for objects whose methods are called from many threads and processes. Decorate each such method with
    Lockable.locked, and override recover(). Each process has its own copy of the object; the lock is shared, and the object's
    data must be in shared memory, too.

    Lockable() has its own lock, shared with the children of this process, forked or spawned. Lockable(name) uses one lock in
    all programs that give this name; it lives until Lockable.remove(name).

        class Counter(heirlock.Lockable):
            def __init__(self):
                super().__init__()
                self._value = multiprocessing.RawValue("i", 0)  # the data must be in shared memory, too

            @heirlock.Lockable.locked
            def increment(self):
                self._value.value += 1

            @heirlock.Lockable.locked
            def increment_twice(self):  # a locked method may call another
                self.increment()
                self.increment()

            def recover(self):
                pass  # a number is never half-written
    """


# --- The memory of locks without a name ---

class _Arena(Mapping):
    """A memory file without a name that holds many locks. It goes with the last of them in the last process. The place of a
    lock is never reused: some process may still use the lock."""
    SIZE, SPACING = 1 << 20, 64  # one cache line per lock; unused pages take no memory

    def __init__(self, *_):
        self.process = os.getpid()
        self.offsets = iter(range(0, self.SIZE, self.SPACING))


_newest = None  # a weak reference to the arena for the next lock; only this process makes locks there
_received = weakref.WeakValueDictionary()  # identity -> arena that this process received at its start
_given = weakref.WeakKeyDictionary()  # process being started -> arenas it receives


def _new_place():
    """An arena, and the offset in it of memory for a new lock."""
    global _newest
    arena = _newest and _newest()
    offset = None
    try:
        # After a fork outside Python, _forked() has not been called.
        if arena is not None and arena.process == os.getpid() and arena.descriptor() >= 0:
            offset = next(arena.offsets, None)
    except OSError:  # the program has closed it: a spawned child could not receive a lock in it
        pass
    if offset is None:
        arena = _Arena(-1, _Arena.SIZE)
        offset = next(arena.offsets)
        _newest = weakref.ref(arena)
    return arena, offset


def _forked():
    global _newest
    _newest = None  # the parent's; the check of the process id fails if both have the same in two PID namespaces


os.register_at_fork(after_in_child=_forked)


def _unpickled(kind, use, *place):
    lock = Lock.__new__(kind)
    use(lock, *place)
    return lock


# --- Where a lock lies ---

def _pickled_place(lock):
    """The function that gives an object the lock in another process, and its arguments."""
    from multiprocessing import context, reduction
    if isinstance(lock._heirlock_place, str):
        return _use_segment, "open", lock._heirlock_place
    if not isinstance(lock._heirlock_memory, _Arena):
        raise TypeError("heirlock: a lock in the program's own memory cannot be pickled; give the memory to the child, and use "
                        "Lock.at() there")
    popen = context.get_spawning_popen()
    if popen is None:
        kind = type(lock).__name__
        raise RuntimeError(f"heirlock: a {kind} without a name can only be shared through inheritance; pass it as an argument "
                           f"of Process(), or give it a name, {kind}(name), and use {kind}.open(name) there")
    # One descriptor per arena, however many locks: multiprocessing cannot pass one twice.
    given = _given.setdefault(popen, {})
    identity, descriptor = lock._heirlock_memory.identity, lock._heirlock_memory.descriptor()
    if identity not in given:
        given[identity] = reduction.DupFd(descriptor)
    return _use_received, given[identity], identity, lock._heirlock_place


def _made(cls, use, place, arguments, keywords):
    lock = cls.__new__(cls, *arguments, **keywords)
    use(lock, *place)
    lock.__init__(*arguments, **keywords)
    return lock


def _use_segment(lock, how, name):
    segment = Segment(how, name)
    _use(lock, segment.address, segment, name)


def _use_buffer(lock, memory, offset):
    import ctypes
    view = (ctypes.c_char * 40).from_buffer(memory, offset)  # keeps the memory from being closed
    _use(lock, ctypes.addressof(view), view, None)


def _use_received(lock, duplicate, identity, offset):
    arena = _received.get(identity)
    if arena is None:
        descriptor = duplicate.detach()
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != identity:
            raise RuntimeError(f"heirlock: descriptor {descriptor} is not the memory of the lock that this process received; "
                               "do not close descriptors before the lock is unpickled")
        os.set_inheritable(descriptor, False)
        arena = _received[identity] = _Arena(descriptor)
    _use(lock, arena.address + offset, arena, offset)
