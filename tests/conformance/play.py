"""Runs a vector: starts the processes of its drivers, sends requests, reads answers, and clears everything away in the end."""
import dataclasses
import errno
import glob
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import task
from vector import CAPABILITIES, FIELDS, FLAGS, PID_NAMESPACE, Bad, Step, process, thread

SIGNALS = {number.value: number.name for number in signal.Signals}


class Failure(Exception):
    """Ends a vector. `seen` is what a list of differences has, `shown` what the user reads."""

    def __init__(self, expected, seen, remark="", shown=None):
        super().__init__(f"expected {expected}, saw {seen}")
        self.expected, self.seen = expected, seen
        self.shown = shown or seen + (f" ({remark})" if remark else "")


SOON = 0.4  # seconds in which an answer may fail to come though no thread runs
BUSY = 2  # seconds of processor time without an answer, from which a driver counts as waiting
NAP = 0.02  # seconds; a waiter of heirlock sleeps outside its queue for half of that
POLLS = 2000  # tries

# `seen` and `shown` if something does not come in time.
NO_ANSWER = "blocks", "no answer within {:g} s"
BLOCKS = "blocks", "blocks (within {:g} s)"  # if the request may wait for ever
GOES_ON = "it goes on", "it goes on (within {:g} s)"
NEVER_READY = "nothing", "nothing within {:g} s (is each line flushed?)"
STDERR_LINES = 20  # are shown, of at most so many bytes:
STDERR_BYTES = 4000


class Interrupted(Exception):
    """A signal came. Only Play.listen raises this, so that nothing is left half done."""
    number = None
    wake_up = os.pipe()

    @classmethod
    def catch(cls, number, _):
        cls.number = cls.number or number

    @classmethod
    def prepare(cls):
        for end in cls.wake_up:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(cls.wake_up[1], warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, cls.catch)


@dataclasses.dataclass
class Request:
    command: str
    lock: str
    argument: str
    sent: float
    answer: str = None
    answered: float = 0

    def milliseconds(self):
        return 0 if self.argument == "-" else int(self.argument)

    def is_try(self):
        return self.command in ("try", "try_lock") or self.command == "acquire" and self.argument != "-" and self.milliseconds() <= 0

    def silence(self):
        return BLOCKS if self.command in ("acquire", "lock") and self.argument == "-" else NO_ANSWER


@dataclasses.dataclass
class Process:
    """A process of a driver, which this program started or another process forked."""
    name: str
    driver: str
    requests: int  # file descriptors
    answers: int
    popen: subprocess.Popen = None
    pidfd: int = None
    pid: int = None  # known when it is ready
    is_ready: bool = False
    may_end: bool = False
    is_gone: bool = False
    is_stopped: bool = False
    rest: bytes = b""
    threads: set = dataclasses.field(default_factory=lambda: {"1"})
    asked: dict = dataclasses.field(default_factory=dict)  # by the thread's number, until a step has checked the answer

    def ending(self):
        code = self.popen.poll() if self.popen else None
        if code is None:  # not a child of this program, so its status is unknown
            return "ended"
        return f"ended with status {code}" if code >= 0 else f"ended by {SIGNALS.get(-code, -code)}"

    def tasks(self):
        """What the kernel tells of each thread: its state, how often it has run, its system call, and more."""
        return "".join(task.contents(path + "/status") + task.contents(path + "/syscall") for path in sorted(glob.glob(f"/proc/{self.pid}/task/*")))

    def task_states(self):
        return set(re.findall(r"State:\t(.)", self.tasks()))

    def processor_time(self):
        """In seconds, so far."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)  # as clock_getcpuclockid numbers the clock of a process
        except OSError:
            return 0  # it is gone, as listen() will say

    def is_waited_for(self):
        return any(request.answer is None for request in self.asked.values())


def printable(data):
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in data.decode("utf-8", "backslashreplace"))


def parent(pid):
    """0 if it has none, or is gone."""
    return int((task.contents(f"/proc/{pid}/stat").rpartition(")")[2].split() or [0, 0])[1])


def children():
    return {int(name) for name in os.listdir("/proc") if name.isdecimal() and parent(name) == os.getpid()}


class Play:
    """The processes and files of one run of a vector. The end of the with statement removes them all."""

    def __init__(self, drivers, capabilities, options):
        self.drivers, self.capabilities, self.options = drivers, capabilities, options
        self.processes, self.tids, self.aliases, self.ids = {}, {}, {}, {}
        self.poll, self.actions = select.poll(), {}
        self.prefix = f"conformance-{os.getpid()}-"
        self.strangers = children()

    def __enter__(self):
        self.remove_segments()
        self.folder = tempfile.mkdtemp(prefix=f"heirlock-{self.prefix}", dir="/dev/shm")
        self.memory = os.open(f"{self.folder}/memory", os.O_RDWR | os.O_CREAT, 0o600)
        self.errors = os.open(f"{self.folder}/errors", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self.memory, 4096)
        self.poll.register(Interrupted.wake_up[0], select.POLLIN)
        return self

    def __exit__(self, *_):
        """The orphans of a process become children of this program (see main): when it has none, all are gone."""
        left = True
        while left:
            left = children() - self.strangers
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            for pid in left:
                os.waitpid(pid, 0)
        for one in self.processes.values():
            for fd in {one.requests, one.answers, one.pidfd} - {None}:
                os.close(fd)
            if one.popen:
                one.popen.wait()  # it was reaped above; Popen must know
        os.close(self.memory)
        os.close(self.errors)
        self.remove_segments()
        for name in os.listdir(self.folder):
            os.unlink(f"{self.folder}/{name}")
        os.rmdir(self.folder)

    def remove_segments(self):
        for path in glob.glob(f"/dev/shm/heirlock.{self.prefix}*"):
            os.unlink(path)

    def note(self, text):
        if self.options.verbose:
            print(f"    {text}", flush=True)

    # -- Answers

    def listen(self, until, seconds):
        """Reads answers until `until()` holds or the time is over. Returns whether it holds."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            ready = self.poll.poll(max(0, left) * 1000)
            if Interrupted.number:
                raise Interrupted
            for fd, _ in ready:
                if fd in self.actions:
                    self.actions[fd]()
            if left <= 0 and not ready:
                return until()
        return True

    def wait(self, until, expected, silence, seconds=None):
        seconds = seconds or self.options.timeout
        if not self.listen(until, seconds):
            seen, shown = silence
            raise Failure(expected, seen, shown=shown.format(seconds))

    def watch(self, fd, action):
        self.actions[fd] = action
        self.poll.register(fd, select.POLLIN)

    def unwatch(self, fd):
        if self.actions.pop(fd, None):
            self.poll.unregister(fd)

    def watch_death(self, one, pid):
        if one.pidfd is not None:
            self.unwatch(one.pidfd)
            os.close(one.pidfd)
        one.pidfd = os.pidfd_open(pid)
        self.watch(one.pidfd, lambda: self.died(one))

    def died(self, one):
        self.unwatch(one.pidfd)
        one.is_gone = True
        self.read(one)
        if not one.may_end:
            raise Failure(f"{one.name} goes on", f"{one.name} {one.ending()}")

    def read(self, one):
        try:
            data = os.read(one.answers, 65536)
        except BlockingIOError:
            return
        if not data:
            self.unwatch(one.answers)
        *lines, one.rest = (one.rest + data).split(b"\n")
        for line in map(printable, lines):
            self.note(f"{one.name} < {line}")
            (self.answer if one.is_ready else self.begin)(one, line)
        if len(one.rest) > 4096:
            raise Failure("a line", f"{one.name} wrote over 4096 characters without an end of line")

    def answer(self, one, line):
        match = re.fullmatch(r"(\d+) (\S.*)", line)
        if not match:
            raise Failure("THREAD RESULT", f"{one.name} wrote '{line}'")
        request = one.asked.get(match[1])
        if request is None or request.answer is not None:
            raise Failure(f"nothing from thread {match[1]} of {one.name}, which has nothing to answer", f"{one.name} wrote '{line}'")
        request.answer, request.answered = match[2], time.monotonic()

    def begin(self, one, line):
        match = re.fullmatch(r"ready ([1-9]\d{0,9})((?: \S+)*)", line)
        if not match:
            raise Failure("ready PID CAPABILITY...", f"{one.name} wrote '{line}'")
        found = set(match[2].split())
        if not found <= CAPABILITIES:
            unknown = ", ".join(f"'{name}'" for name in sorted(found - CAPABILITIES))
            raise Failure(f"some of the capabilities {', '.join(sorted(CAPABILITIES))}", f"the capability {unknown}", f"{one.name} wrote '{line}'")
        expected = self.capabilities.setdefault(one.driver, found)
        if found != expected:
            raise Failure(f"the capabilities of its first start, {' '.join(sorted(expected))}", f"{one.name} wrote '{line}'")
        pid = ancestor = int(match[1])
        while ancestor > 1 and ancestor != os.getpid():
            ancestor = parent(ancestor)
        if pid == os.getpid() or ancestor != os.getpid() or one.pid not in (None, pid):
            raise Failure("ready with its process id", f"{one.name} wrote '{line}'")
        if one.pid is None:
            self.watch_death(one, pid)  # the command may be a wrapper of the driver
        one.pid, one.is_ready = pid, True
        self.tids[f"{one.name}.1"] = pid

    # -- Requests

    def add(self, one):
        self.processes[one.name] = one
        os.set_blocking(one.answers, False)
        self.watch(one.answers, lambda: self.read(one))

    def start(self, name):
        driver = self.drivers[(ord(name) - ord("A")) % len(self.drivers)]
        (stdin, requests), (answers, stdout) = os.pipe(), os.pipe()
        self.note(f"{name} is {driver}")
        try:
            popen = subprocess.Popen([*shlex.split(driver), f"{self.folder}/memory"], stdin=stdin, stdout=stdout, stderr=self.errors,
                                     start_new_session=True)  # Ctrl-C is for this program alone
        except (OSError, ValueError) as error:
            hint = " (does it begin with #!?)" if getattr(error, "errno", None) == errno.ENOEXEC else ""
            raise Bad(f"the driver '{driver}' cannot be started: {error}{hint}; give the command of a driver") from error
        finally:
            os.close(stdin)
            os.close(stdout)
        one = Process(name, driver, requests, answers, popen)
        self.add(one)
        self.watch_death(one, popen.pid)
        self.wait(lambda: one.is_ready, "ready PID CAPABILITY...", NEVER_READY)

    def resolve(self, name):
        return self.aliases.get(name, name)

    def place_of(self, name):
        """The process of a thread, and its number there."""
        name = self.resolve(name)
        return self.processes[process(name)], name.partition(".")[2]

    def process_of(self, name):
        return self.place_of(name)[0]

    def send(self, name, command, lock="-", argument="-"):
        if process(self.resolve(name)) not in self.processes:
            self.start(process(name))
        one, number = self.place_of(name)
        if number not in one.threads:
            one.threads.add(number)
            tid = self.ask(one, number, "tid")
            self.wait(lambda: tid.answer, "the tid of the thread", NO_ANSWER)
            if not re.fullmatch(r"[1-9]\d{0,9}", tid.answer) or not os.path.exists(f"/proc/{one.pid}/task/{tid.answer}"):
                raise Failure("the tid of the thread", tid.answer, "asked for it ahead of its first request")
            self.tids[f"{one.name}.{number}"] = int(tid.answer)
            del one.asked[number]
        return one, number, self.ask(one, number, command, lock, argument)

    def ask(self, one, number, command, lock="-", argument="-"):
        request = Request(command, lock, argument, time.monotonic())
        one.asked[number] = request
        self.note(f"{one.name} > {number} {command} {lock} {argument}")
        try:
            os.write(one.requests, f"{number} {command} {lock} {argument}\n".encode())
        except BrokenPipeError:
            pass  # its death comes next
        return request

    # -- The steps, one method for each verb

    def play(self, vector, listed):
        for self.step in vector.steps:
            self.note(self.step.text)
            self.is_silence_listed = any((one.step, one.seen) == (self.step.text, "blocks") for one in listed)
            try:
                getattr(self, self.step.verb, self.command)(self.step)
            except (FileNotFoundError, PermissionError, ProcessLookupError) as error:
                raise Failure("the runner can do this", str(error)) from error
        self.step = Step(vector.steps[-1].line, "the end of its input", "end")
        self.finish()

    def finish(self):
        """Every driver must end with its input and say nothing more, unless it is stopped or still waits for a lock."""
        ending = [one for one in self.processes.values() if not (one.is_gone or one.is_stopped or one.is_waited_for())]
        for one in ending:
            one.may_end = True
            os.close(one.requests)
            one.requests = None
        if not self.listen(lambda: all(one.is_gone for one in ending), self.options.timeout):
            left = ", ".join(one.name for one in ending if not one.is_gone)
            raise Failure(f"{left} ends", f"{left} goes on", f"for {self.options.timeout:g} s")

    def tid_of(self, name):
        return 0 if name == "nobody" else self.tids[self.resolve(thread(name))]

    def name_of(self, tid):
        names = [name for name, known in self.tids.items() if known == tid]
        return "nobody" if tid == 0 else names[-1].removesuffix(".1") if names else "an unknown thread"

    def told(self, one, number, expected):
        """Compares the answer to a request with the expected one."""
        request = one.asked.pop(number)
        seen = request.answer
        if request.command in ("owner", "tid") and seen.isdecimal() and expected != "blocks":
            seen = expected if int(seen) == self.tid_of(expected) else self.name_of(int(seen))
        if seen != expected:
            raise Failure(expected, seen)
        took = request.answered - request.sent
        if seen == "timeout" and took < request.milliseconds() / 1000:
            raise Failure(expected, "timeout too early", f"after {1000 * took:.1f} ms of {request.milliseconds()}")

    def command(self, step):
        lock = "-" if step.verb in ("end", "tid") else step.lock or "0"
        lock = lock if lock.isdecimal() or lock == "-" else f"@{self.prefix}{lock}"
        if step.expected == "wakes":
            return self.wakes(step, lock)
        one, number, request = self.send(step.who, step.verb, lock, step.argument or "-")
        if request.is_try():
            self.expect_no_waiting([request], [one], "an answer")
        elif step.expected != "blocks":
            self.wait_for_answer([request], step)
        elif self.is_silent(one, number):
            return
        self.told(one, number, step.expected)
        if step.verb == "end":
            one.threads.discard(number)

    def wakes(self, step, lock):
        tid = self.tid_of(step.who)
        task.trace(tid)
        one, number, request = self.send(step.who, step.verb, lock)

        def holds():
            if request.answer:
                self.told(one, number, step.expected)
            return task.is_at_wake_up(tid, 64 * int(lock))

        self.look_until(holds, lambda: Failure(step.expected, "blocks"))

    def sleeps(self, one, number):
        """Whether the thread sleeps on the lock in the kernel. Each process has mapped the memory elsewhere, but at the beginning of a page."""
        lock, futex = one.asked[number].lock, task.slept_on(self.tids[f"{one.name}.{number}"])
        return one.asked[number].answer is None and lock.isdecimal() and futex > 0 and futex % 4096 == 64 * int(lock)

    def waits(self, processes, apart=0):
        """Returns a function: whether the processes wait, as they have used much processor time since or do not run. A thread may
        sleep for an instant, and a look takes one thread after the other, so nothing may change between two looks."""
        began = sum(one.processor_time() for one in processes)

        def look():
            return "".join(one.tasks() for one in processes)

        def are_at_rest():
            before = look()
            time.sleep(apart)
            return not re.search("(?m)^(State:\t[RD]|running)", before) and before == look()

        return lambda: sum(one.processor_time() for one in processes) - began > BUSY or are_at_rest()

    def is_silent(self, one, number):
        """Whether there is no answer before the thread is seen asleep. One that waits in another way is given some time."""
        began, request, waits = time.monotonic(), one.asked[number], self.waits([one])
        while not self.sleeps(one, number):
            if self.listen(lambda: request.answer, 0.001):
                return False
            waited = time.monotonic() - began
            if waited > self.options.timeout or waited > self.options.window and waits():
                return not self.listen(lambda: request.answer, 0)
        return True

    def wait_for_answer(self, requests, step):
        seconds = self.options.timeout + (max(0, requests[0].milliseconds()) / 1000 if step.expected == "timeout" else 0)
        if self.is_silence_listed:
            seconds = 10 * self.options.window  # the answer is known not to come
        self.wait(lambda: any(request.answer for request in requests), step.expected, requests[0].silence(), seconds)

    def expect_no_waiting(self, requests, processes, expected, apart=0):
        """An answer may take time on a busy machine, but it must not be waited for."""
        began, waits = time.monotonic(), self.waits(processes, apart)

        def answered():
            return any(request.answer for request in requests)

        while not self.listen(answered, 0.001):
            waited = time.monotonic() - began
            is_over = waited > self.options.timeout or waited > SOON and waits()
            if is_over and not self.listen(answered, 0):
                raise Failure(f"{expected} without waiting", NO_ANSWER[0], f"after {waited:.1f} s")

    def unblocks(self, step):
        names = [self.resolve(name) for name in (step.who, step.rival) if name]
        where = [self.place_of(name) for name in names]
        requests = [one.asked[number] for one, number in where]
        if step.soon:
            if all(self.sleeps(*each) for each in where):
                raise Failure(f"{step.expected} without waiting", NO_ANSWER[0], "the step before has not woken it")
            self.expect_no_waiting(requests, [one for one, _ in where], step.expected, NAP)
        else:
            self.wait_for_answer(requests, step)
        first = min(range(len(names)), key=lambda i: (requests[i].answer is None, requests[i].answered))
        self.told(*where[first], step.expected)
        if step.rival:
            self.aliases = {"first": names[first], "other": names[1 - first]}

    def still(self, step):
        one, number = self.place_of(step.who)
        if self.listen(lambda: one.asked[number].answer, int(step.argument or 0) / 1000) or not self.is_silent(one, number):
            self.told(one, number, "blocks")

    def polls(self, step):
        command, busy = ("acquire", "timeout") if step.argument else ("try", "busy")
        for _ in range(POLLS):
            one, number, request = self.send(step.who, command, step.lock or "0", step.argument or "-")
            self.expect_no_waiting([request], [one], "an answer")
            if request.answer != busy:
                break
            del one.asked[number]
        else:
            raise Failure(step.expected, busy, f"{POLLS} times")
        self.told(one, number, step.expected)

    def kill(self, step):
        one = self.process_of(step.who)
        one.may_end = True
        signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)
        self.wait(lambda: one.is_gone, "its end", GOES_ON)

    def exit(self, step):
        one, number, _ = self.send(step.who, "exit")
        one.may_end = True
        del one.asked[number]
        self.wait(lambda: one.is_gone, "its end", GOES_ON)

    def exec(self, step):
        one, _, _ = self.send(step.who, "exec")
        one.is_ready, one.threads, one.asked = False, {"1"}, {}
        self.wait(lambda: one.is_ready, "ready PID CAPABILITY...", NEVER_READY)

    def fork(self, step):
        path = f"{self.folder}/{step.argument}"
        for suffix in (".in", ".out"):
            os.mkfifo(path + suffix, 0o600)
        # O_RDWR, since an open for writing alone would wait for the child.
        ends = os.open(path + ".in", os.O_RDWR), os.open(path + ".out", os.O_RDONLY | os.O_NONBLOCK)
        one, number, request = self.send(step.who, "fork", argument=path)
        child = Process(step.argument, one.driver, *ends)
        self.add(child)
        self.wait(lambda: request.answer, "done", NO_ANSWER)
        self.told(one, number, "done")
        self.wait(lambda: child.is_ready, f"ready PID CAPABILITY... from {child.name}", NEVER_READY)

    def stop(self, step):
        one = self.process_of(step.who)
        one.is_stopped = True
        signal.pidfd_send_signal(one.pidfd, signal.SIGSTOP)
        self.look_until(lambda: one.task_states() <= set("TZX"), lambda: Failure("it stops", "it goes on"))

    def resume(self, step):
        one = self.process_of(step.who)
        one.is_stopped = False
        signal.pidfd_send_signal(one.pidfd, signal.SIGCONT)
        self.look_until(lambda: "T" not in one.task_states(), lambda: Failure("it goes on", "it is stopped"))

    def look_until(self, holds, failure):
        """Polls what sends no event when it changes."""
        end = time.monotonic() + self.options.timeout
        while True:
            is_over = time.monotonic() > end
            if holds():
                return
            if is_over:
                raise failure()
            self.listen(lambda: False, 0.001)

    def set(self, step):
        if step.lock and not step.lock.isdecimal():
            return self.set_file(f"/dev/shm/heirlock.{self.prefix}{step.lock}", step)
        offset, size = self.field(step)
        os.pwrite(self.memory, self.number(step).to_bytes(size, sys.byteorder), offset)

    def set_file(self, path, step):
        if step.argument == "mode":
            os.chmod(path, int(step.expected, 8))
        elif step.argument == "size":
            os.truncate(path, int(step.expected))
        else:
            with open(path, "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), bytes([int(step.expected)]), int(step.argument.split()[1]))

    def see(self, step):
        """A thread that waits may not have written its part yet. Only then the runner looks again."""
        if any(one.is_waited_for() for one in self.processes.values()):
            self.look_until(lambda: self.is_seen(step), lambda: Failure(step.expected, self.seen(step)))
        elif not self.is_seen(step):
            raise Failure(step.expected, self.seen(step))

    def field(self, step):
        offset, size = FIELDS[step.argument]
        return 64 * int(step.lock or 0) + offset, size

    def number(self, step):
        """The number that the step's words mean."""
        word, *flags = step.expected.split()
        if word.isdecimal():
            return int(word)
        if step.argument == "word":
            if re.fullmatch("[A-Z]", word) and word not in self.processes:
                self.start(word)
            return (0 if word == "free" else self.tid_of(word)) | sum(FLAGS[flag] for flag in flags)
        return PID_NAMESPACE

    def value(self, step):
        offset, size = self.field(step)
        return int.from_bytes(os.pread(self.memory, size, offset), sys.byteorder)

    def is_seen(self, step):
        by_name = step.argument in ("owner_id", "pending")
        return self.seen(step) == step.expected if by_name else self.value(step) == self.number(step)

    def pending(self, lock):
        """The threads whose pending mark names the lock. The processes map the memory at different addresses, but always at the beginning of a page."""
        node = 64 * lock + 32
        return " ".join(sorted({self.name_of(tid) for tid in self.tids.values() if task.pending_mark(tid) % 4096 == node})) or "nobody"

    def seen(self, step):
        if step.argument == "pending":
            return self.pending(int(step.lock or 0))
        value = self.value(step)
        if step.argument == "owner_id":
            before, self.ids[step.lock] = self.ids.get(step.lock), value
            is_complement = step.expected == "complement" and value == before ^ (1 << 64) - 1
            return "complement" if is_complement else "other" if value else "zero"
        if step.argument != "word":
            return "own" if step.expected == "own" and value == PID_NAMESPACE else str(value)
        flags = [flag for flag, bit in FLAGS.items() if value & bit]
        return " ".join([self.name_of(value & ~sum(FLAGS.values())), *flags]) if value else "free"

    def complaints(self):
        """The first lines of what the drivers wrote to standard error."""
        written = os.pread(self.errors, STDERR_BYTES, 0)
        lines = [line for line in map(printable, written.splitlines()) if line.strip()]
        is_all = len(lines) <= STDERR_LINES and os.fstat(self.errors).st_size == len(written)
        return [f"standard error: {line}" for line in lines[:STDERR_LINES] + ([] if is_all else ["and more"])]
