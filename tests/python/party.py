"""A party: a thread or a process that calls methods of an object when it is told, and answers."""
import multiprocessing
import os
import pathlib
import signal
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
import task

PROCESSES = ("fork", "spawn", "forkserver")
LIMIT = 60  # seconds within which what must come comes

signal.alarm(5 * LIMIT)  # which ends what hangs


def serve(connection, subject):
    signal.alarm(5 * LIMIT)  # a forked child has none
    while True:
        name, arguments = connection.recv()
        if name is None:
            return
        try:
            answer = True, getattr(subject, name)(*arguments)
        except BaseException as error:  # to be raised where it was asked
            answer = False, error
        connection.send(answer)


def in_a_child(body):
    """What a child made by a bare fork answers, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = repr(body())
        except BaseException as error:
            text = repr(error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


class Party:
    def __init__(self, test, kind, subject):
        self.connection, theirs = multiprocessing.Pipe()
        self.process = None
        if kind == "thread":
            self.thread = threading.Thread(target=serve, args=(theirs, subject), daemon=True)
            self.thread.start()
            self.tid = self.thread.native_id
        else:
            self.process = multiprocessing.get_context(kind).Process(target=serve, args=(theirs, subject))
            self.process.start()
            self.tid = self.process.pid
            theirs.close()
        test.addCleanup(self.kill if self.process else self.end)

    def begin(self, name, *arguments):
        self.connection.send((name, arguments))

    def is_waiting(self):
        """Whether it comes to wait for a lock, of which the kernel is told, and not to an answer."""
        while not self.connection.poll(0.001):
            if task.pending_mark(self.tid):
                return True
        return False

    def answer(self):
        if not self.connection.poll(LIMIT):
            raise TimeoutError(f"found no answer within {LIMIT} s")
        succeeded, result = self.connection.recv()
        if not succeeded:
            raise result
        return result

    def call(self, name, *arguments):
        self.begin(name, *arguments)
        return self.answer()

    def end(self):
        """Of a thread; a lock that it holds is not released."""
        if self.thread.is_alive():
            self.begin(None)
            self.thread.join(LIMIT)

    def kill(self):
        if self.process.is_alive():
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
