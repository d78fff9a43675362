#!/usr/bin/env python3
"""heirlock's lock a second time, in Python, written from SPECIFICATION.md alone: for those who port it to another language.

It shares locks and named segments with the C++ library, and its owners are inherited from as any other's. A number in a comment is
the step of section 5 that is done there. It is for reading and for tests; programs in Python call the C interface, which
is faster and has no bounds such as these:

- No handler of a signal may raise an exception while a thread is inside an operation, as SIGINT's does in Python unless it
  is reset: the operation would end between two of its steps. That a signal kills is what the lock is made for.
- No handler of a signal and no finalizer (`__del__`, which may run between any two lines) may use a lock.

Python runs a thread's lines in their order and ctypes loads and stores at once, so that the kernel sees this thread's stores in
the order of these lines when the thread dies: the compiler fences of section 5 have nothing to do here. Python's global
lock orders nothing between processes, and is given up between any two lines, or inside a system call.
"""
import ctypes
import errno
import fcntl
import itertools
import math
import mmap
import os
import platform
import random
import re
import stat
import struct
import sys
import threading
import time

# --- What section 7 asks of the machine and the kernel ---------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)  # lets go of Python's global lock during a call
_libc.syscall.argtypes = [ctypes.c_long] * 7
_libc.syscall.restype = ctypes.c_long
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _checked(result):
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _map(length, protection, flags, descriptor=-1):
    """The address. (Python's own mmap objects end at exit before the main thread does, when the kernel looks for its locks.)"""
    return _checked(_libc.mmap(None, length, protection, flags, descriptor, 0))


READ_WRITE, ANONYMOUS = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

_MACHINES = {
    "x86_64": {
        "futex": 202, "set_robust_list": 273, "get_robust_list": 274,
        # mov eax, esi; lock cmpxchg [rdi], edx; ret
        "compare_exchange": "89f0 f00fb117 c3",
        # mov [rdi], esi; ret                           (each store of an x86 is a release)
        "store_release": "8937 c3",
        # mfence; ret
        "fence": "0faef0 c3",
    },
    "aarch64": {
        "futex": 98, "set_robust_list": 99, "get_robust_list": 100,
        # 1: ldaxr w3, [x0]; cmp w3, w1; b.ne 2f; stlxr w4, w2, [x0]; cbnz w4, 1b; 2: mov w0, w3; ret
        "compare_exchange": "03fc5f88 7f00016b 61000054 02fc0488 84ffff35 e003032a c0035fd6",
        # stlr w1, [x0]; ret
        "store_release": "01fc9f88 c0035fd6",
        # dmb ish; ret
        "fence": "bf3b03d5 c0035fd6",
    },
}
if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
    raise ImportError(f"{platform.machine()} is not supported; add its code to _MACHINES")
_machine = _MACHINES[platform.machine()]


def _functions(*signatures):
    """Python has no compare-exchange on memory shared with other processes, nor has the C library, and libatomic is not
    installed everywhere. So these few instructions are mapped as a program's are: from a file, never writable and executable at once."""
    page = os.memfd_create("heirlock atomics")
    places = []
    for name, *_ in signatures:
        places.append(os.lseek(page, 0, os.SEEK_CUR))
        os.write(page, bytes.fromhex(_machine[name]).ljust(32, b"\0"))
    start = _map(mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, page)
    os.close(page)
    # A PYFUNCTYPE keeps Python's global lock: these calls are shorter than letting it go.
    return [ctypes.PYFUNCTYPE(*types)(start + place) for place, (_, *types) in zip(places, signatures)]


# compare_exchange(address, expected, desired) returns what it found. It is acquire and release at once: so a take
# shows the robust list as well.
_compare_exchange, _store_release, _fence = _functions(
    ("compare_exchange", ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32),
    ("store_release", None, ctypes.c_void_p, ctypes.c_uint32),
    ("fence", None))


def _u32(address):
    """Memory whose `value` is loaded and stored relaxed: ctypes does either with one instruction, if the address is aligned."""
    return ctypes.c_uint32.from_address(address)


def _u64(address):
    return ctypes.c_uint64.from_address(address)


def _system_call(name, *arguments):
    """Its result, or the negative of its error."""
    result = _libc.syscall(_machine[name], *arguments, *[0] * (6 - len(arguments)))
    return -ctypes.get_errno() if result < 0 else result


FUTEX_WAKE, FUTEX_WAKE_OP, FUTEX_WAIT_BITSET, MATCH_ANY = 1, 5, 9, 0xFFFFFFFF  # without FUTEX_PRIVATE_FLAG: shared
ALL = 2**31 - 1


class _TimeSpec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _wait_until(word, seen, moment):
    """0 when woken, else the negative of ETIMEDOUT, EAGAIN or EINTR. The moment counts on CLOCK_MONOTONIC."""
    until = _TimeSpec(*divmod(moment, 10**9))
    result = _system_call("futex", word, FUTEX_WAIT_BITSET, seen, ctypes.addressof(until), 0, MATCH_ANY)
    if result not in (0, -errno.ETIMEDOUT, -errno.EAGAIN, -errno.EINTR):
        _die("FUTEX_WAIT_BITSET", word, result)
    return result


def _wake_one(word):
    result = _system_call("futex", word, FUTEX_WAKE, 1)
    if result in (-errno.EPERM, -errno.ENOSYS):
        _die("FUTEX_WAKE", word, result)
    return max(0, result)  # another error: the memory is gone, and with it who slept there


def _clear_and_wake_all(word):
    # The operation 0 says: store 0 at the second address. It would wake there as well, 0 threads.
    result = _system_call("futex", word, FUTEX_WAKE_OP, ALL, 0, word, 0)
    if result < 0:
        _die("FUTEX_WAKE_OP", word, result)


def _die(call, word, result):  # lock.error.kernel
    message = f"heirlock: {call} on the lock at {word:#x} failed: {os.strerror(-result)}; keep the lock mapped\n"
    os.write(2, message.encode())
    os.abort()


def _owner_is_gone(tid):
    head, length = ctypes.c_uint64(), ctypes.c_uint64()
    _fence()
    result = _system_call("get_robust_list", tid, ctypes.addressof(head), ctypes.addressof(length))
    _fence()
    return result == -errno.ESRCH or (result == 0 and head.value == 0)


# --- Identity, of section 7 ------------------------------------------------------------------------------------------------

class UnsupportedPlatform(Exception):
    pass


class ForeignPidNamespace(Exception):
    pass


class RecursionTooDeep(Exception):
    pass


class NotOwner(AssertionError):
    pass


class OwnerDead(Exception):
    pass


MADV_WIPEONFORK, PIDFD_GET_PID_NAMESPACE = 18, 0xFF05
_identity_page = _map(mmap.PAGESIZE, READ_WRITE, ANONYMOUS)
_checked(_libc.madvise(_identity_page, mmap.PAGESIZE, MADV_WIPEONFORK))
_page_generation = _u32(_identity_page)  # 0 in a child, until it draws one
_generations = itertools.count(1)  # a child has its parent's count, and goes on: so none of its ancestors had its generation
_records = threading.local()


class _Thread:
    """The record of a thread: *me* in section 5."""

    def __init__(self, generation):
        self.generation = generation
        self.tid = threading.get_native_id()  # asks the kernel
        self.id = _random_id()
        self.pid_namespace = _pid_namespace()
        self.head = _robust_list_head()
        self.first = _u64(self.head)
        self.pending = _u64(self.head + 16)
        self.quiet = [None] * 16

    # The robust list. `node` is the address of a lock's `next`; bit 0 of a link is kept when copied, masked when followed.

    def link(self, node):
        first = self.first.value
        _u64(node).value = first
        _u64(node - 8).value = self.head
        if first & ~1 != self.head:
            _u64((first & ~1) - 8).value = node
        self.first.value = node

    def has_listed_a_lock_of(self, owner_id):
        """So this id is the thread's, in some copy of the library. By the lock's own address it would not be found where
        each copy has mapped the lock. From the head on: another's lock has links that lead anywhere."""
        node = self.first.value & ~1
        while _is_owner_id(owner_id) and node != self.head:
            if _u64(node - 16).value == owner_id:
                return True
            node = _u64(node).value & ~1
        return False

    def unlink(self, node):
        following, previous = _u64(node).value, _u64(node - 8).value
        _u64(previous & ~1).value = following
        if following & ~1 != self.head:
            _u64((following & ~1) - 8).value = previous


def _this_thread():
    record = _known_thread()
    if record is None:
        record = _records.mine = _Thread(_current_generation())
    return record


def _known_thread():
    """None if the thread has used no lock since it, or its process, began. (The page says 0 in a new child, a record never.)"""
    record = getattr(_records, "mine", None)
    return record if record is not None and record.generation == _page_generation.value else None


def _current_generation():
    if _page_generation.value == 0:
        _compare_exchange(_identity_page, 0, next(_generations))
    return _page_generation.value


def _is_owner_id(number):
    """What a libc mutex has at its place is none."""
    return number >> 32 != 0


def _random_id():
    while True:
        number = int.from_bytes(os.urandom(8), "little")
        if _is_owner_id(number) and _is_owner_id(~number & 2**64 - 1):
            return number


def _pid_namespace():
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return _pid_namespace_without_proc()


def _pid_namespace_without_proc():
    opened = []
    try:
        opened.append(os.pidfd_open(os.getpid()))
        opened.append(fcntl.ioctl(opened[0], PIDFD_GET_PID_NAMESPACE))
        return os.fstat(opened[1]).st_ino
    except OSError as error:
        raise UnsupportedPlatform(f"the PID namespace is unknown: {error}; mount /proc, or allow pidfd_open on Linux 6.11 or later") from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _robust_list_head():
    head, length = ctypes.c_uint64(), ctypes.c_uint64()
    result = _system_call("get_robust_list", 0, ctypes.addressof(head), ctypes.addressof(length))
    if result == 0 and head.value == 0:
        head.value = _map(mmap.PAGESIZE, READ_WRITE, ANONYMOUS)  # for good: the kernel reads it when the thread ends
        _u64(head.value).value = head.value
        _u64(head.value + 8).value = 2**64 - Lock.NEXT  # the distance from a node to its word; then follows the pending mark
        result = _system_call("set_robust_list", head.value, 24)
    if result < 0:
        raise UnsupportedPlatform(f"get_robust_list failed: {os.strerror(-result)}; allow it")
    if _u64(head.value + 8).value != 2**64 - Lock.NEXT:
        raise UnsupportedPlatform("this libc's robust list has its words at other distances than glibc's; use glibc")
    return head.value


# --- The protocol, section 5 -----------------------------------------------------------------------------------------------

ACQUIRED, INHERITED, REENTERED, NOT_ACQUIRED = "acquired", "inherited", "reentered", "not_acquired"
OWNER, OWNER_DIED, WAITERS = 0x3FFFFFFF, 0x40000000, 0x80000000
DEEPEST = 2**32 - 1
FOR_EVER, ALREADY_PASSED = 2**63 - 1, 0  # deadlines, in nanoseconds on CLOCK_MONOTONIC


class _Patience:
    """What one acquire has waited so far."""

    FIRST_SLICE, LONGEST_SLICE = 50 * 10**6, 10**9  # nanoseconds

    def __init__(self, deadline):
        self.deadline = deadline
        self.has_slept = False
        self.slice = _Patience.FIRST_SLICE
        self.slice_end = None

    def deadline_has_passed(self):
        return time.monotonic_ns() >= self.deadline

    def sleep(self, word, seen):
        """Whether the slice ended it."""
        if self.slice_end is None:
            self.slice_end = time.monotonic_ns() + self.slice
        self.has_slept = True
        result = _wait_until(word, seen, min(self.slice_end, self.deadline))
        if result != -errno.ETIMEDOUT or self.deadline < self.slice_end:
            return False
        self.slice = min(2 * self.slice, _Patience.LONGEST_SLICE)
        self.slice_end = time.monotonic_ns() + self.slice
        return True


class Lock:
    """The lock at an address, in memory that somebody else keeps mapped. All zero is a free lock."""

    SIZE, ALIGNMENT = 40, 8
    NEXT = 32

    def __init__(self, address):
        self._address = address
        self._node = address + Lock.NEXT
        self._word = _u32(address)
        self._depth = _u32(address + 4)
        self._pid_namespace = _u32(address + 8)
        self._owner_id = _u64(address + 16)

    def acquire(self, timeout=None):
        """With a timeout, in seconds: NOT_ACQUIRED when it has passed."""
        if timeout is None:
            return self._acquire(FOR_EVER)
        if timeout != timeout:
            raise ValueError("the timeout is NaN; give seconds")
        if timeout <= 0:
            return self._acquire(ALREADY_PASSED)
        now = time.monotonic_ns()
        return self._acquire(now + math.ceil(timeout * 10**9) if timeout < 10**9 else FOR_EVER)

    def try_acquire(self):
        return self._acquire(ALREADY_PASSED)

    def _acquire(self, deadline):
        me = _this_thread()
        if self._owner_id.value == me.id:  # 1
            return self._reenter()
        self._require_same_pid_namespace(me)  # 2
        asks = True  # before it gives up, whether the owner exists
        if deadline == ALREADY_PASSED:  # 3, a try, and few of many ask: it is a system call
            owner = self._word.value & OWNER
            asks = owner != 0
            if owner not in (0, me.tid) and random.randrange(64) != 0:
                return NOT_ACQUIRED
        me.pending.value = self._node  # 4
        taken = self._take(me, deadline, asks)  # 4 to 6
        if taken in (NOT_ACQUIRED, REENTERED):
            me.pending.value = 0
            return self._reenter() if taken == REENTERED else NOT_ACQUIRED
        me.link(self._node)  # 7
        me.pending.value = 0
        self._owner_id.value = me.id
        self._depth.value = 1
        return INHERITED if taken & OWNER_DIED else ACQUIRED

    def lock(self):
        """For callers that cannot be told of a death: refused with OwnerDead, the lock free and still to be inherited, until
        somebody who acquired it has called repaired()."""
        self._require_whole(self.acquire())

    def try_lock(self):
        """Likewise. Whether the caller has the lock."""
        return self._require_whole(self.try_acquire()) != NOT_ACQUIRED

    def _require_whole(self, result):
        if result == INHERITED:
            self.release()
            raise OwnerDead("an owner of the lock died; acquire it, repair the data and call repaired()")
        return result

    def _reenter(self):
        if self._depth.value == DEEPEST:
            raise RecursionTooDeep(f"the lock is held {DEEPEST} times; release it first")
        self._depth.value += 1
        return REENTERED

    def _require_same_pid_namespace(self, me):
        if self._pid_namespace.value == 0:
            _compare_exchange(self._address + 8, 0, me.pid_namespace)
        if self._pid_namespace.value != me.pid_namespace:
            raise ForeignPidNamespace(f"the lock belongs to PID namespace {self._pid_namespace.value}, the caller to {me.pid_namespace}")

    def _take(self, me, deadline, asks):
        """The word that the caller took the lock from, or why it did not."""
        if self._exchange(0, me.tid):  # 4
            return 0
        patience = _Patience(deadline)
        while True:  # 5
            word = self._word.value
            if word & OWNER == 0:  # 5a
                if self._exchange(word, word | me.tid):
                    return word
            elif word & OWNER == me.tid:
                if me.has_listed_a_lock_of(self._owner_id.value):  # 5b
                    return REENTERED
                self._bury(word)  # 5c
            elif patience.deadline_has_passed():  # 5d
                if asks:
                    asks = False
                    self._ask_whether_the_owner_exists(word)
                elif not patience.has_slept or self._exchange(word, word):
                    return NOT_ACQUIRED
            # 5e: never, Python is too slow to gain by it.
            elif word & WAITERS or self._exchange(word, word | WAITERS):  # 5g, 5f
                seen = word | WAITERS
                if patience.sleep(self._address, seen):  # 6
                    self._ask_whether_the_owner_exists(seen)

    def _ask_whether_the_owner_exists(self, word):
        owner_id = self._owner_id.value
        if _owner_is_gone(word & OWNER) and self._owner_id.value == owner_id:
            self._bury(word)

    def _bury(self, word):
        if not self._exchange(word, word & WAITERS | OWNER_DIED):
            self._exchange(word | WAITERS, WAITERS | OWNER_DIED)

    def release(self):
        me = self._require_owner("release")  # 1
        if self._depth.value > 1:  # 2
            self._depth.value -= 1
            return
        me.pending.value = self._node  # 3
        me.unlink(self._node)
        self._owner_id.value = ~me.id & 2**64 - 1
        if not self._exchange(me.tid, 0):  # 4
            self._release_contended(me)  # 5
        me.pending.value = 0  # 6

    def _release_contended(self, me):
        word = self._word.value
        if not word & WAITERS and self._exchange(word, OWNER_DIED):
            return
        slot = self._address // 64 % len(me.quiet)
        if not word & OWNER_DIED and me.quiet[slot] == self._address:
            me.quiet[slot] = None
            _fence()
            _clear_and_wake_all(self._address)
            return
        _store_release(self._address, WAITERS | word & OWNER_DIED)
        if _wake_one(self._address) == 0:
            me.quiet[slot] = self._address

    def repaired(self):
        self._require_owner("repaired")
        while True:
            word = self._word.value
            if self._exchange(word, word & ~OWNER_DIED):
                return

    def owner(self):
        """Its tid, or 0."""
        return self._word.value & OWNER

    def depth(self):
        """What the caller owes."""
        return self._depth.value if self._mine() else 0

    def needs_repair(self):
        return bool(self._word.value & OWNER_DIED)

    def _mine(self):
        """The caller's record if it owns the lock, perhaps through another copy of the library, to which it has another id."""
        me = _known_thread()
        if me is None:
            return None
        owner_id = self._owner_id.value
        return me if owner_id == me.id or self.owner() == me.tid and me.has_listed_a_lock_of(owner_id) else None

    def _require_owner(self, operation):
        me = self._mine()
        if me is None:
            raise NotOwner(f"{operation} by a thread that does not own the lock; its owner is {self.owner() or 'nobody'}")
        return me

    def _exchange(self, expected, desired):
        return _compare_exchange(self._address, expected, desired) == expected


# --- Named segments, section 8 -----------------------------------------------------------------------------------------------

class LayoutMismatch(Exception):
    pass


class NotTrusted(Exception):
    pass


def _fnv_1a(text):
    result = 0xCBF29CE484222325
    for byte in text:
        result = (result ^ byte) * 0x100000001B3 % 2**64
    return result


class Segment:
    """A named segment that holds a lock and nothing else, as `Lockable(name)` makes it."""

    FOLDER = "/dev/shm"
    OBJECT_OFFSET = max(256, Lock.ALIGNMENT)
    TYPE = b"N8heirlock13ReentrantLockE"
    FILE_SIZE = OBJECT_OFFSET + Lock.SIZE
    HEADER = struct.pack("=8sIIQQQQ208s", b"heirlock", 1, OBJECT_OFFSET, Lock.SIZE, Lock.ALIGNMENT, _fnv_1a(TYPE), FILE_SIZE, TYPE)

    def __init__(self, descriptor):
        self._address = _map(Segment.FILE_SIZE, READ_WRITE, mmap.MAP_SHARED, descriptor)
        self.lock = Lock(self._address + Segment.OBJECT_OFFSET)

    def close(self):
        """The lock is not to be touched after it."""
        _checked(_libc.munmap(self._address, Segment.FILE_SIZE))

    @classmethod
    def create(cls, name):
        path = cls._path(name)
        descriptor = os.open(cls.FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            os.posix_fallocate(descriptor, 0, cls.FILE_SIZE)
            os.write(descriptor, cls.HEADER.ljust(cls.FILE_SIZE, b"\0"))
            segment = cls(descriptor)
            # With a folder's descriptor, which an absolute path ignores, Python calls linkat, and that with AT_SYMLINK_FOLLOW.
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
            return segment
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, name):
        path = cls._path(name)
        cls._require_trust(os.lstat(path), path)  # before it is opened, which may be refused, or do something to it
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            cls._require_trust(os.fstat(descriptor), path)
            cls._require_layout(descriptor, path)
            return cls(descriptor)
        finally:
            os.close(descriptor)

    @classmethod
    def open_or_create(cls, name):
        while True:
            try:
                return cls.open(name)
            except FileNotFoundError:
                pass
            try:
                return cls.create(name)
            except FileExistsError:
                pass

    @classmethod
    def remove(cls, name):
        """Whether there was one."""
        try:
            os.unlink(cls._path(name))
            return True
        except FileNotFoundError:
            return False

    @classmethod
    def _path(cls, name):
        if not re.fullmatch("[A-Za-z0-9._-]{1,200}", name):
            raise ValueError(f"the name {name!r} is not allowed; use 1 to 200 letters, digits, '.', '-' and '_'")
        return f"{cls.FOLDER}/heirlock.{name}"

    @staticmethod
    def _require_trust(found, path):
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022 or found.st_nlink > 1:
            raise NotTrusted(f"{path} has mode {found.st_mode:o}, owner {found.st_uid} and {found.st_nlink} names; it must be the caller's or "
                             "root's, have one name, and be writable by nobody else")

    @classmethod
    def _require_layout(cls, descriptor, path):
        if os.fstat(descriptor).st_size != cls.FILE_SIZE or os.pread(descriptor, len(cls.HEADER), 0) != cls.HEADER:
            raise LayoutMismatch(f"{path} holds no lock of layout version 1; remove it")


# --- The driver, see ../README.md ------------------------------------------------------------------------------------------

_WORDS = {NotOwner: "not_owner", RecursionTooDeep: "recursion_too_deep", ForeignPidNamespace: "foreign_pid_namespace",
          OwnerDead: "owner_dead", FileExistsError: "file_exists", FileNotFoundError: "file_missing", ValueError: "invalid_name",
          LayoutMismatch: "layout_mismatch", NotTrusted: "not_trusted"}


def _result(operation, *arguments):
    try:
        return operation(*arguments)
    except tuple(_WORDS) as error:
        return _WORDS[type(error)]


class _DriverLock:
    def __init__(self, lock):
        self._lock = lock
        self.depth, self.owner, self.flag = lock.depth, lock.owner, lock.needs_repair

    def acquire(self, milliseconds):
        result = _result(self._lock.acquire, None if milliseconds is None else milliseconds / 1000)
        return "timeout" if result == NOT_ACQUIRED else result

    def try_acquire(self):
        result = _result(self._lock.try_acquire)
        return "busy" if result == NOT_ACQUIRED else result

    def lock(self):
        return _result(self._lock.lock) or "done"

    def try_lock(self):
        result = _result(self._lock.try_lock)
        return {True: "done", False: "busy"}.get(result, result)

    def release(self):
        return _result(self._lock.release) or "done"

    def repaired(self):
        return _result(self._lock.repaired) or "done"


class _Port:
    capabilities = ("threads", "fork", "exec", "death", "poison", "query", "names", "layout")

    def __init__(self, memory):
        with open(memory, "r+b") as file:
            self._memory = _map(64 * 64, READ_WRITE, mmap.MAP_SHARED, file.fileno())
        self._segments = {}

    def lock(self, number):
        return _DriverLock(Lock(self._memory + 64 * number))

    def named(self, name):
        return _DriverLock(self._segments[name].lock)

    def create(self, name):
        return _result(self._keep, Segment.create, name)

    def open(self, name):
        return _result(self._keep, Segment.open, name)

    def open_or_create(self, name):
        return _result(self._keep, Segment.open_or_create, name)

    def remove(self, name):
        removed = _result(Segment.remove, name)
        return {True: "done", False: "file_missing"}.get(removed, removed)

    def close(self, name):
        self._segments.pop(name).close()
        return "done"

    def _keep(self, make, name):
        self._segments[name] = make(name)
        return "done"


if __name__ == "__main__":
    import signal

    import driver

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a handler that raises would end an operation between two steps
    driver.main(_Port)
