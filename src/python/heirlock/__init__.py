"""A reentrant, process-shared lock for Linux whose next owner inherits when its owner is killed.

See help(heirlock.Lockable) for an example. A Lockable is used like an object built on multiprocessing.RLock, by threads and by
processes, forked or spawned. Beyond that, when its owner is killed the next one to acquire runs `recover()` and goes on; and
`Lockable(name)` is one lock for all programs of a user, in C++ or C as well. `Lock` is the lock alone.
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

    not_acquired  busy, or the time was over
    acquired      was free, now the caller's
    reentered     was the caller's already, one deeper
    inherited     its last owner died, or released it unrepaired: what it guards may be half-written
    """
    not_acquired = 0
    acquired = 1
    reentered = 2
    inherited = 3

    def __bool__(self):
        return self is not AcquireResult.not_acquired


_heirlock.set_results(list(AcquireResult))


class Lock(_heirlock.Lock):
    """A process-shared, reentrant lock that the next owner inherits when its owner dies. An owner is a thread of a process.

    Lock() is shared with the children of this process: forked ones have it, spawned ones are given it as they are given
    multiprocessing's locks. Lock(name) is the same in all programs of the user; it lives until Lock.remove(name).

    After the death of an owner acquire(), `with` and locked methods call recover(), which raises OwnerDiedError unless a
    class that derives from this one overrides it. acquire_result() tells of the death instead.

    A lock that is collected while a thread of the process holds it stays held, until that thread ends and the next owner
    inherits.
    """

    def __init__(self, name=None, **others):
        """`others` go to the next class in line, in a class with several bases."""
        if others and getattr(super().__init__, "__objclass__", None) is object:  # before the name is made
            raise TypeError(f"heirlock: found the argument {next(iter(others))!r}, expected at most a name")
        if name is not None:
            _use_segment(self, "open_or_create", name)
        elif self._heirlock_memory is None:  # create(), open() and at() have given it one
            arena, offset = _new_place()
            _use(self, arena.address + offset, arena, offset)
        super().__init__(**others)

    @classmethod
    def create(cls, name, *arguments, **keywords):
        """A new lock with this name; FileExistsError if it is taken. The other arguments are for the class's __init__()."""
        return _made(cls, _use_segment, ("create", name), arguments, keywords)

    @classmethod
    def open(cls, name, *arguments, **keywords):
        """The lock with this name; FileNotFoundError if there is none. The other arguments are for the class's __init__()."""
        return _made(cls, _use_segment, ("open", name), arguments, keywords)

    @classmethod
    def at(cls, memory, offset=0, *arguments, **keywords):
        """The lock in `memory`, a writable buffer that is shared, such as an mmap: 40 bytes, aligned to 8. Zeros are a free
        lock. The buffer cannot be closed meanwhile, and is never freed if it refers to the lock: the collector does not see that
        cycle. The other arguments are for the class's __init__()."""
        return _made(cls, _use_buffer, (memory, offset), arguments, keywords)

    @staticmethod
    def remove(name):
        """Takes the name of a lock away; those who have the lock keep it. Returns whether there was one."""
        return _remove(name)

    @staticmethod
    def locked(method):
        """Decorator: acquires the object's lock before the method and releases it afterwards, also after an exception.

        TypeError for a coroutine or a generator: its body runs after the call has returned."""
        import inspect  # which takes longer to import than all here
        call = type(method).__call__ if callable(method) else None
        body = inspect.unwrap(method)  # a context manager's is a generator
        if (call is None or inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(call)
                or inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body)):
            raise TypeError(f"heirlock: locked cannot hold the lock for {method!r}, expected a function that has done its work "
                            "when it returns; inside of a coroutine or a generator use `with self:` around code without await "
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
        raise TypeError(f"heirlock: found a copy of a {type(self).__name__}, expected one lock; share this one")

    __deepcopy__ = __copy__

    def __reduce__(self):
        if hasattr(self, "__getstate__"):
            state = self.__getstate__()
        else:  # Python 3.10
            state = self.__dict__, {name: getattr(self, name) for name in copyreg._slotnames(type(self)) if hasattr(self, name)}
        return _unpickled, (type(self), *_pickled_place(self)), state or None


class Lockable(Lock):
    """A base class for objects whose methods are called from many threads and processes: decorate each such method with
    Lockable.locked, and override recover(). The object itself is each process's own; the lock is shared, and what the object keeps
    must be too.

    Lockable() has a lock of its own, for the children of this process, forked or spawned. Lockable(name) has that of all programs
    which give this name; it lives until Lockable.remove(name).

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
    """


# --- The memory of locks without a name ---

class _Arena(Mapping):
    """A file without a name, in memory, in which many locks lie; gone with the last of them in the last process. What was a
    lock is never another: some process may still use it."""
    SIZE, SPACING = 1 << 20, 64  # a cache line each; what is not used takes no memory

    def __init__(self, *_):
        self.process = os.getpid()
        self.offsets = iter(range(0, self.SIZE, self.SPACING))


_newest = None  # a weak reference to the arena for the next lock, which this process alone makes locks in
_received = weakref.WeakValueDictionary()  # from identity to arena: what this process was given at its start
_given = weakref.WeakKeyDictionary()  # from a process that is being started to what it is given


def _new_place():
    """An arena, and the offset in it of memory for a new lock."""
    global _newest
    arena = _newest and _newest()
    offset = None
    try:
        # A fork that Python did not make has not called _forked().
        if arena is not None and arena.process == os.getpid() and arena.descriptor() >= 0:
            offset = next(arena.offsets, None)
    except OSError:  # somebody closed it: no child to be spawned could be given a lock in it
        pass
    if offset is None:
        arena = _Arena(-1, _Arena.SIZE)
        offset = next(arena.offsets)
        _newest = weakref.ref(arena)
    return arena, offset


def _forked():
    global _newest
    _newest = None  # the parent goes on making locks there, and in another PID namespace it has the child's id


os.register_at_fork(after_in_child=_forked)


def _unpickled(kind, use, *place):
    lock = Lock.__new__(kind)
    use(lock, *place)
    return lock


# --- Where a lock lies ---

def _pickled_place(lock):
    """What gives an object the lock in another process, and its arguments."""
    from multiprocessing import context, reduction
    if isinstance(lock._heirlock_place, str):
        return _use_segment, "open", lock._heirlock_place
    if not isinstance(lock._heirlock_memory, _Arena):
        raise TypeError("heirlock: found a lock in memory of the program's own, expected one with a name or a memory of its "
                        "own; give the memory to the child, and use Lock.at() there")
    popen = context.get_spawning_popen()
    if popen is None:
        kind = type(lock).__name__
        raise RuntimeError(f"heirlock: cannot pickle a {kind} without a name, but for a process that is being started, by "
                           f"inheritance: pass it as an argument of Process(); or give it a name, {kind}(name), and use "
                           f"{kind}.open(name) there")
    # One descriptor for each arena, however many locks: multiprocessing cannot pass one on twice.
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
            raise RuntimeError(f"heirlock: found another file as descriptor {descriptor}, expected the memory of the lock "
                               "that this process was given; do not close descriptors before it is unpickled")
        os.set_inheritable(descriptor, False)
        arena = _received[identity] = _Arena(descriptor)
    _use(lock, arena.address + offset, arena, offset)
