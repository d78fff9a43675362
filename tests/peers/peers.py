"""peers.py LIBHEIRLOCK LIBBOOST: shows what happens to heirlock and to the locks that people use instead, when the same
misfortunes befall their owner. Every answer is observed in this run."""
import collections
import ctypes
import errno
import mmap
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time

BLOCKED, NOT_TOLD, TOLD, REFUSED, LOST = "blocked for ever", "goes on, not told", "goes on, is told", "is refused", "lost for good"
PR_SET_PDEATHSIG, CLONE_NEWUSER, CLONE_NEWPID = 1, 0x10000000, 0x20000000
GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100}[platform.machine()]
libc, libheirlock, libboost = ctypes.CDLL(None), ctypes.CDLL(sys.argv[1]), ctypes.CDLL(sys.argv[2])


# --- The locks. take() waits for a second, and returns what came of it. ---

Lock = collections.namedtuple("Lock", "acquire take release repair", defaults=[None])


def shared_memory():
    return (ctypes.c_char * 64).from_buffer(mmap.mmap(-1, 64))  # zeros


def heirlock():
    lock = shared_memory()

    def take():
        return {0: BLOCKED, 1: NOT_TOLD, 3: TOLD, -3: REFUSED}[libheirlock.heirlock_acquire_for(lock, ctypes.c_int64(10**9))]

    return Lock(lambda: libheirlock.heirlock_acquire(lock), take, lambda: libheirlock.heirlock_release(lock),
                lambda: libheirlock.heirlock_repaired(lock) > 0)


def glibc(is_robust):
    mutex, attributes = shared_memory(), ctypes.create_string_buffer(8)
    libc.pthread_mutexattr_init(attributes)
    libc.pthread_mutexattr_settype(attributes, 1)  # PTHREAD_MUTEX_RECURSIVE
    libc.pthread_mutexattr_setpshared(attributes, 1)
    libc.pthread_mutexattr_setrobust(attributes, is_robust)
    libc.pthread_mutex_init(mutex, attributes)

    def take():
        deadline = (ctypes.c_long * 2)(*divmod(time.time_ns() + 10**9, 10**9))
        error = libc.pthread_mutex_timedlock(mutex, deadline)
        return {0: NOT_TOLD, errno.ETIMEDOUT: BLOCKED, errno.EOWNERDEAD: TOLD, errno.ENOTRECOVERABLE: LOST}[error]

    return Lock(lambda: libc.pthread_mutex_lock(mutex), take, lambda: libc.pthread_mutex_unlock(mutex),
                lambda: libc.pthread_mutex_consistent(mutex) == 0)


def boost():
    mutex = shared_memory()
    libboost.make(mutex)
    return Lock(lambda: libboost.acquire(mutex), lambda: NOT_TOLD if libboost.acquire_within_a_second(mutex) else BLOCKED,
                lambda: libboost.release(mutex))


def rlock():
    lock = multiprocessing.RLock()
    return Lock(lock.acquire, lambda: NOT_TOLD if lock.acquire(True, 1.0) else BLOCKED, lock.release)


# --- The misfortunes ---

def in_a_child(body, new_pid_namespace=False):
    """Runs the body in a child, which is killed at its end. Returns the text that the body returns, or ""."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if new_pid_namespace and libc.unshare(CLONE_NEWPID) != 0 and libc.unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0:
                text = "not permitted here"
            else:
                text = in_a_child(body) if new_pid_namespace else body()
            os.write(writer, text.encode() if isinstance(text, str) else b"")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(1)  # process 1 of a PID namespace does not die of its own signal
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as answer:
        return answer.read()


def take_and_release(lock):
    word = lock.take()
    if word != BLOCKED:
        lock.release()
    return word


def taken_beside_a_child(lock, body):
    """What take() says once a thread of a child, not its main thread, has written something. The thread lives on."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(writer, 1)
        threading.Thread(target=lambda: (body(), threading.Event().wait())).start()
        signal.pause()
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    word = take_and_release(lock)
    os.kill(child, signal.SIGKILL)
    os.wait()
    return word


def after_a_kill(kind):
    lock = kind()
    in_a_child(lock.acquire)
    return take_and_release(lock)


def after_a_kill_with_many_held(kind):
    locks = [kind() for _ in range(2100)]
    in_a_child(lambda: [lock.acquire() for lock in locks])
    return "some blocked for ever" if any(take_and_release(lock) == BLOCKED for lock in locks) else "all can be taken"


def after_exec_by_another_thread(kind):
    lock = kind()

    def body():
        lock.acquire()
        os.execlp("sh", "sh", "-c", "echo; exec sleep 60")

    return taken_beside_a_child(lock, body)


def release_by_a_child(kind):
    lock = kind()

    def body():
        lock.acquire()
        in_a_child(lock.release)
        os.write(1, b".")

    return "does not" if taken_beside_a_child(lock, body) == BLOCKED else "releases it"


def after_an_unrepaired_release(kind):
    lock = kind()
    in_a_child(lock.acquire)
    take_and_release(lock)
    return take_and_release(lock)


def repair_by_a_stranger(kind):
    lock = kind()
    in_a_child(lock.acquire)
    lock.take()
    word = in_a_child(lambda: "is believed" if lock.repair() else "is refused")
    lock.release()
    return word


def by_a_namesake_in_another_pid_namespace(kind):
    """Two processes with one thread id, each in a PID namespace of its own."""
    lock = kind()

    def body():
        lock.acquire()
        return in_a_child(lock.take, new_pid_namespace=True)

    return in_a_child(body, new_pid_namespace=True).replace(NOT_TOLD, "GETS IT AS WELL")


def mark_after_a_timeout(kind):
    """What the kernel looks at when the thread ends: if the memory serves something else by then, it may change that."""
    lock = kind()
    lock.acquire()

    def body():
        lock.take()
        head, size = ctypes.c_void_p(), ctypes.c_size_t()
        libc.syscall(GET_ROBUST_LIST, 0, ctypes.byref(head), ctypes.byref(size))
        return "stays" if ctypes.c_uint64.from_address(head.value + 16).value else "is taken back"

    word = in_a_child(body)
    lock.release()
    return word


def print_table(kinds, columns):
    print(*(f"{cell:22}" for cell in ("lock", *columns)), sep=" | ")
    for name, kind in kinds.items():
        print(*(f"{cell:22}" for cell in (name, *(ask(kind) for ask in columns.values()))), sep=" | ", flush=True)


this_libc = os.confstr("CS_GNU_LIBC_VERSION")
robust = {"heirlock": heirlock, f"{this_libc} robust": lambda: glibc(1)}
kinds = {**robust, f"{this_libc} not robust": lambda: glibc(0)}
if hasattr(libboost, "version"):
    libboost.version.restype = ctypes.c_char_p
    kinds[f"Boost {libboost.version().decode()}"] = boost
kinds[f"RLock, CPython {platform.python_version()}"] = rlock
print_table(kinds, {"owner is killed": after_a_kill, "owner of 2,100 killed": after_a_kill_with_many_held,
                    "owner calls exec*": after_exec_by_another_thread, "release by a child": release_by_a_child})
print("* from a thread that is not the leader. 'For ever' means that the next thread gave up after a second.\n")
print_table(robust, {"unrepaired release": after_an_unrepaired_release, "repair by a stranger": repair_by_a_stranger,
                     "same tid, other PID ns": by_a_namesake_in_another_pid_namespace, "mark after a timeout": mark_after_a_timeout})
