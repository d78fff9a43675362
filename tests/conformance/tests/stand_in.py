#!/usr/bin/env python3
"""A driver for the tests of heirlock-conformance. Its port is made of the kernel's record locks, which a process gives back when it ends.
It goes wrong in the way that the environment variable WRONG names."""
import ctypes
import fcntl
import mmap
import os
import platform
import queue
import signal
import struct
import sys
import threading
import time

WRONG = os.environ.get("WRONG", "")
CAPABILITIES = os.environ.get("CAPABILITIES", "threads fork exec death query names layout")
SHARED = os.open(sys.argv[1], os.O_RDWR)
MEMORY = mmap.mmap(SHARED, 4096)
RUNNER = os.environ.setdefault("RUNNER", str(os.getppid()))  # for what is executed anew as well
NAMES, QUEUES = {}, {}  # what is open; the requests of each thread
NAMESPACE = os.stat("/proc/self/ns/pid").st_ino
FUTEX = 202 if platform.machine() == "x86_64" else 98


def say(text):
    os.write(1, text.encode() + b"\n")


class Lock:
    def __init__(self, place):
        self.file, self.offset = (NAMES[place], 0) if place in NAMES else (SHARED, 64 * int(place))

    def read(self):
        return struct.unpack("II", os.pread(self.file, 8, self.offset))

    def write(self, word, depth):
        os.pwrite(self.file, struct.pack("IIIIQ", word, depth, NAMESPACE, 0, 7), self.offset)

    def acquire(self, how, milliseconds):
        word, depth = self.read()
        if word == os.getpid():
            self.write(word, depth + 1)
            return "reentered"
        end = time.monotonic() + (0 if WRONG == "early" else milliseconds / 1000)
        while True:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.offset)
                break
            except OSError:
                if how == "try" or time.monotonic() >= end and milliseconds > 0:
                    return "busy" if how == "try" else "timeout"
                time.sleep(0.001)
        word, _ = self.read()
        self.write(os.getpid(), 1)
        return "inherited" if word and WRONG != "never inherits" else "acquired"

    def release(self):
        word, depth = self.read()
        if word != os.getpid():
            return "not_owner"
        self.write(word if depth > 1 else 0, depth - 1)
        if depth == 1:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, self.offset)
        return "done"


def named(command, name):
    path = f"/dev/shm/heirlock.{name[1:]}"
    try:
        if command == "remove":
            os.unlink(path)
        else:
            NAMES[name] = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if command == "create" else 0), 0o600)
    except FileExistsError:
        return "file_exists"
    except FileNotFoundError:
        return "file_missing"
    os.ftruncate(NAMES[name], 64)
    return "done"


def fork(path):
    if os.fork():
        return "done"
    for target, suffix, mode in ((0, ".in", os.O_RDONLY), (1, ".out", os.O_WRONLY)):
        end = os.open(path + suffix, mode)
        os.dup2(end, target)
        os.close(end)
    QUEUES.clear()
    return serve()


def result(thread, command, place, argument):
    if command == "tid":
        return "1" if WRONG == "tid" else str(threading.get_native_id())
    if command == "fork":
        return fork(argument)
    if command in ("create", "open", "remove"):
        return named(command, place)
    lock = Lock(place)
    if command in ("acquire", "try"):
        return lock.acquire(command, float(argument) if argument != "-" else 0)
    word, depth = lock.read()
    mine = word == os.getpid()
    simple = {"release": lambda: lock.release(), "depth": lambda: str(depth if mine else 0), "owner": lambda: str(word), "flag": lambda: "no"}
    return simple.get(command, lambda: "error unknown")()


def perform(request):
    thread, command, place, argument = request
    if command == "exit":
        os._exit(0)
    if command == "exec":
        if WRONG == "spawns" and os.fork():
            signal.pause()
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if WRONG == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if WRONG == "complains and dies":
        sys.stderr.write("no such luck\n\n  in line 3\n" + "whatever\n" * 30)
        sys.stderr.flush()
        os._exit(3)
    if WRONG == "silent":
        return
    while WRONG == "spins" and time.process_time() < 10:
        pass
    if WRONG == "leaves":
        leave()
    seen = result(*request)
    if WRONG == "private futex":
        sleep_in_this_process()
    if WRONG == "late" and command == "acquire":
        time.sleep(20)
    if WRONG == "garbage":
        return say("what?\x01")
    if WRONG == "endless line":
        return os.write(1, b"x" * 5000)
    say(f"{thread} {seen}")
    if WRONG == "twice":
        say(f"{thread} {seen}")
    if WRONG == "unasked":
        say("9 done")


def sleep_in_this_process():
    """For 0.1 s, at the beginning of a page, as lock 0 is."""
    word, wait_private, duration = ctypes.c_uint32.from_buffer(mmap.mmap(-1, 4096)), 128, struct.pack("qq", 0, 100_000_000)
    ctypes.CDLL(None).syscall(FUTEX, ctypes.byref(word), wait_private, 0, duration)


def leave():
    """A child of a child that does not mind its parents' ends, and a segment."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            signal.pause()
        os._exit(0)
    open(f"/dev/shm/heirlock.conformance-{RUNNER}-left", "w", encoding="utf-8").close()


def keep_performing(requests):
    while True:
        request = requests.get()
        if request[1] == "end":
            return
        perform(request)


def serve():
    count = f"{sys.argv[1]}.started"
    starts = os.path.getsize(count) if os.path.exists(count) else 0
    with open(count, "a", encoding="utf-8") as file:
        file.write("x")
    if WRONG == "never ready":
        time.sleep(300)
    lacks = WRONG == "changes" and starts
    say(f"ready {1 if WRONG == 'pid' else os.getpid()} {CAPABILITIES.replace('names', '') if lacks else CAPABILITIES}".replace("  ", " ").strip())
    rest = b""
    while True:
        data = os.read(0, 4096)
        if not data:
            if WRONG == "afterthought":
                say("1 done")
            if WRONG == "stays":
                time.sleep(300)
            os._exit(0)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            request = line.decode().split(" ")
            if request[0] == "1":
                perform(request)
                continue
            if request[0] not in QUEUES:
                QUEUES[request[0]] = queue.Queue(), None
                thread = threading.Thread(target=keep_performing, args=[QUEUES[request[0]][0]], daemon=True)
                QUEUES[request[0]] = QUEUES[request[0]][0], thread
                thread.start()
            QUEUES[request[0]][0].put(request)
            if request[1] == "end":
                QUEUES.pop(request[0])[1].join()
                say(f"{request[0]} done")


serve()
