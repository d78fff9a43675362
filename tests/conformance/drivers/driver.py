"""What a conformance driver does whatever its lock: requests, threads, fork, exec and exit, as ../README.md says.

A driver in Python is this, and a class that brings the lock:

    import driver

    class Port:
        capabilities = ("threads", "fork", "death")

        def __init__(self, memory):          # MEMORY, the path of a file to be mapped
        def lock(self, number):              # lock NUMBER of the memory, which has the methods below
        def named(self, name):               # the lock in the segment NAME, opened or created before
        def create(self, name):              # likewise open, open_or_create, remove, close

    class Lock:
        def acquire(self, milliseconds):     # None is for ever
        def try_acquire(self):               # likewise lock and try_lock
        def release(self):
        def repaired(self):                  # likewise depth, owner and flag

    driver.main(Port)

Each method returns its result: a word of the table in README.md, a number, or True or False for `yes` or `no`. An exception is
answered as `error TEXT`. Methods of capabilities that the port has not may be missing. The thread that the method runs in is
the thread of the request: a method that waits must let go of Python's global lock, as all calls by ctypes do.
"""
import os
import queue
import sys
import threading
import time
import traceback

OF_THE_PORT = {"create", "open", "open_or_create", "remove", "close"}
OF_A_LOCK = {"acquire": "acquire", "try": "try_acquire", "lock": "lock", "try_lock": "try_lock", "release": "release",
             "repaired": "repaired", "depth": "depth", "owner": "owner", "flag": "flag"}


def main(port_class):
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} MEMORY, a file of zero bytes that the drivers share")
    Process(port_class(sys.argv[1])).serve()


class Process:
    """One process that serves its standard input. A fork makes a new one of these, which knows no thread of the old one.

    Nothing here is locked while a request is done, and nothing is buffered: so any thread can fork, or call exec, at any time.
    """

    def __init__(self, port):
        self.port = port
        self.requests = {1: queue.SimpleQueue()}  # of each thread that has begun
        self.threads = {}

    def serve(self):
        """In the main thread. Does not return."""
        # One write is one line, whole, whichever threads answer.
        os.write(1, f"ready {os.getpid()} {' '.join(self.port.capabilities)}\n".encode())
        threading.Thread(target=self.read, daemon=True).start()
        self.work(1)

    def read(self):
        try:
            rest = b""
            while chunk := os.read(0, 65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self.hand_over(line.decode())
        except ValueError as error:
            os.write(2, f"{sys.argv[0]}: {error}; send THREAD COMMAND LOCK ARGUMENT in each line\n".encode())
            os._exit(2)
        os._exit(0)  # whatever the other threads wait for

    def hand_over(self, line):
        thread, command, lock, argument = line.split(" ", 3)
        number = int(thread)
        if number not in self.requests:
            self.requests[number] = queue.SimpleQueue()
            self.threads[number] = threading.Thread(target=self.work, args=(number,), daemon=True)
            self.threads[number].start()
        self.requests[number].put((command, lock, argument))
        if command == "end":
            del self.requests[number]
            threading.Thread(target=self.join, args=(number, self.threads.pop(number)), daemon=True).start()

    def work(self, number):
        requests = self.requests[number]
        while True:
            command, lock, argument = requests.get()
            if command == "end":
                return
            self.answer(number, self.result_of(command, lock, argument))

    def answer(self, number, result):
        if isinstance(result, bool):
            result = "yes" if result else "no"
        os.write(1, f"{number} {result}\n".encode())

    def result_of(self, command, lock, argument):
        try:
            return self.perform(command, lock, argument)
        except Exception as error:
            return f"error {type(error).__name__}: {error}".replace("\n", " ")

    def perform(self, command, lock, argument):
        if command == "tid":
            return threading.get_native_id()
        if command == "fork":
            return self.fork(argument)
        if command == "exec":
            os.execv(sys.executable, [sys.executable, *sys.argv])
        if command == "exit":
            os._exit(0)
        if command in OF_THE_PORT and hasattr(self.port, command):
            return getattr(self.port, command)(lock[1:])
        if command in OF_A_LOCK:
            target = self.port.named(lock[1:]) if lock.startswith("@") else self.port.lock(int(lock))
            if command == "acquire":
                return target.acquire(None if argument == "-" else int(argument))
            if hasattr(target, OF_A_LOCK[command]):
                return getattr(target, OF_A_LOCK[command])()
        return "error unknown"

    def fork(self, path):
        if os.fork() != 0:
            return "done"
        try:
            for name, mode, place in ((".in", os.O_RDONLY, 0), (".out", os.O_WRONLY, 1)):
                opened = os.open(path + name, mode)
                os.dup2(opened, place)
                os.close(opened)
            Process(self.port).serve()
        except BaseException:
            traceback.print_exc()
        os._exit(1)  # never back into what the parent was doing

    def join(self, number, thread):
        """Python's join comes when the thread has done its work in Python. The lock's owner is the kernel's thread, which ends
        a little later; nothing but its place in /proc tells when."""
        thread.join()
        while os.path.exists(f"/proc/self/task/{thread.native_id}"):
            time.sleep(0.001)
        self.answer(number, "done")
