"""The line of CPython's multiprocessing.RLock in the table of ci/peers."""
import ctypes
import multiprocessing
import os
import platform
import signal
import threading


def in_a_doomed_child(body):
    child = os.fork()
    if child == 0:
        body()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def taken(lock):
    return "goes on, not told" if lock.acquire(True, 1.0) else "blocked for ever"


def after_a_kill():
    lock = multiprocessing.RLock()
    in_a_doomed_child(lock.acquire)
    return taken(lock)


def after_a_kill_with_many_held():
    locks = [multiprocessing.RLock() for _ in range(2100)]
    in_a_doomed_child(lambda: [lock.acquire() for lock in locks])
    blocked = sum(not lock.acquire(False) for lock in locks)
    return "some blocked for ever" if blocked else "all can be taken"


def after_exec_by_another_thread():
    lock = multiprocessing.RLock()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        def body():
            lock.acquire()
            os.dup2(writer, 1)
            os.execlp("sh", "sh", "-c", "echo; exec sleep 60")

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        os._exit(1)
    os.read(reader, 1)
    result = taken(lock)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return result


def release_by_a_child():
    lock = multiprocessing.RLock()
    lock.acquire()
    released = multiprocessing.Value(ctypes.c_bool, False)

    def body():
        try:
            lock.release()
            released.value = True
        except AssertionError:
            pass

    in_a_doomed_child(body)
    return "releases it" if released.value else "does not"


print("%-22s | %-17s | %-22s | %-17s | %s" % (
    "RLock, CPython " + platform.python_version(), after_a_kill(), after_a_kill_with_many_held(),
    after_exec_by_another_thread(), release_by_a_child()))
