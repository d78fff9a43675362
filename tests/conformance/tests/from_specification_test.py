#!/usr/bin/env python3
"""from_specification_test.py PARTNER: does the second implementation share its locks with C++ processes?

PARTNER is from_specification_partner.cpp, built."""
import ctypes
import importlib.util
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "drivers"))
import from_specification as port

LIMIT = 120  # seconds, for what takes two on an idle machine


class Books:
    """A lock, and 64 bytes on two numbers that are equal whenever it is free, unless its owner died."""

    def __init__(self, memory):
        with open(memory, "r+b") as file:
            address = port._map(mmap.PAGESIZE, port.READ_WRITE, mmap.MAP_SHARED, file.fileno())
        self.lock = port.Lock(address)
        self.first = ctypes.c_long.from_address(address + 64)
        self.second = ctypes.c_long.from_address(address + 72)

    def keep(self, times):
        for _ in range(times):
            if self.lock.acquire() == port.INHERITED:
                self.second.value = self.first.value
                self.lock.repaired()
            if self.first.value != self.second.value:
                sys.exit(f"{self.first.value} and {self.second.value} differ: the lock had two owners at once")
            self.first.value += 1
            self.second.value += 1
            self.lock.release()


class OverSharedMemory(unittest.TestCase):
    def setUp(self):
        self.memory = tempfile.NamedTemporaryFile(dir="/dev/shm")
        self.addCleanup(self.memory.close)
        self.memory.truncate(mmap.PAGESIZE)
        self.books = Books(self.memory.name)
        self.running = []
        self.addCleanup(self.kill_all)
        # Nobody is saved by the end of a slice, nor by asking whether an owner exists: the kernel and the releaser alone must do.
        for place, name, value in (port._Patience, "FIRST_SLICE", port.FOR_EVER), (port, "_owner_is_gone", lambda tid: False):
            patch = mock.patch.object(place, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def start_cpp(self, times):
        self.running.append(os.spawnv(os.P_NOWAIT, partner, [partner, "keep", self.memory.name, str(times)]))

    def start_python(self, task, *arguments):
        child = os.fork()
        if child == 0:
            try:
                task(*arguments)
                os._exit(0)
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
        self.running.append(child)
        return child

    def status_of(self, process):
        give_up = time.monotonic() + LIMIT
        while (ended := os.waitpid(process, os.WNOHANG)) == (0, 0):
            self.assertLess(time.monotonic(), give_up, f"a process still waits; the word is {self.books.lock._word.value:#x}")
            time.sleep(0.001)
        self.running.remove(process)
        return ended[1]

    def expect_all_to_end_well(self):
        for process in list(self.running):
            self.assertEqual(self.status_of(process), 0, "a process ended badly; its message stands above")

    def kill(self, process):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        self.running.remove(process)

    def kill_all(self):
        while self.running:
            self.kill(self.running[-1])


class Sharing(OverSharedMemory):
    # Spec: lock.acquire.exclusion, lock.acquire.progress, lock.acquire.visibility, version.layout
    def test_processes_of_both_implementations_lose_no_addition_and_forget_no_waiter(self):
        self.books.lock.acquire()  # until all wait
        for _ in range(3):
            self.start_python(self.books.keep, 10000)
        for _ in range(2):
            self.start_cpp(100000)
        self.books.lock.release()
        self.expect_all_to_end_well()
        self.assertEqual((self.books.first.value, self.books.second.value), (230000, 230000))


class KilledAtEachLine(OverSharedMemory):
    def kill_at_each_line(self, operation, expectation):
        """Processes do the operation, each killed before another line of the second implementation, until one comes through."""
        line, killed = 0, True
        while killed:
            line, killed = line + 1, False
            with self.subTest(line=line):
                victim = self.start_python(kill_before, line, operation)
                expectation(victim)
                killed = self.status_of(victim) == signal.SIGKILL
        self.assertGreater(line, 20, "too few lines were stepped through; the operation has more")

    def expect_to_be_acquirable(self, *locks):
        for lock in locks:
            self.assertIn(lock.acquire(timeout=LIMIT), (port.ACQUIRED, port.INHERITED))
            self.assertEqual(lock.depth(), 1)
            lock.repaired()
            lock.release()

    def wait_until_asleep(self, process):
        """Or at its end. (It sleeps nowhere else for long; if it does, the test is easier to pass.)"""
        while pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] not in "SZ":
            time.sleep(0.001)

    def acquire(self):
        self.assertIn(self.books.lock.acquire(timeout=LIMIT), (port.ACQUIRED, port.INHERITED))

    # Spec: lock.inherit.death, lock.inherit.many
    def test_no_lock_is_lost_that_it_was_taking_holding_or_releasing(self):
        a, b, c = locks = [port.Lock(self.books.lock._address + 1024 + 64 * number) for number in range(3)]

        def some_in_and_out():
            for operation in (a.acquire, b.acquire, c.acquire, c.release, b.release, b.acquire, c.acquire, b.release, a.release):
                operation()

        def all_can_be_acquired(victim):
            os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
            self.expect_to_be_acquirable(*locks)

        self.kill_at_each_line(some_in_and_out, all_can_be_acquired)

    # Spec: lock.inherit.death, lock.inherit.sleeper, lock.acquire.progress
    def test_no_waiter_is_forgotten_by_the_one_that_was_releasing(self):
        def release_when_one_waits():
            while not self.books.lock._word.value & port.WAITERS:
                time.sleep(0.001)
            self.books.lock.release()

        def acquire_and_release():
            self.books.lock.acquire()
            release_when_one_waits()

        def a_waiter_gets_it(victim):
            while self.books.lock.owner() != victim and os.waitid(os.P_PID, victim, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.001)
            waiter = self.start_python(self.acquire)
            self.assertEqual(self.status_of(waiter), 0)
            self.expect_to_be_acquirable(self.books.lock)

        self.kill_at_each_line(acquire_and_release, a_waiter_gets_it)

    # Spec: lock.acquire.progress
    def test_no_waiter_is_forgotten_when_another_dies_that_was_woken(self):
        def another_waiter_gets_it(victim):
            self.wait_until_asleep(victim)
            waiter = self.start_python(self.acquire)
            self.wait_until_asleep(waiter)
            self.books.lock.release()
            self.assertEqual(self.status_of(waiter), 0)
            self.acquire()
            self.books.lock.repaired()

        self.books.lock.acquire()
        self.kill_at_each_line(self.acquire, another_waiter_gets_it)


def kill_before(line, operation):
    """The `line`-th that is executed of the second implementation."""
    def trace(frame, event, _):
        nonlocal line
        if frame.f_code.co_filename != port.__file__:
            return None
        line -= event == "line"
        if line == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    operation()
    sys.settrace(None)


class TwoCopies(unittest.TestCase):
    """Of the second implementation, in this process: each draws an id of its own for the thread."""

    def setUp(self):
        specification = importlib.util.spec_from_file_location("second_copy", port.__file__)
        self.second = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self.second)
        file = tempfile.TemporaryFile(dir="/dev/shm")
        self.addCleanup(file.close)
        file.truncate(mmap.PAGESIZE)
        self.addresses = [port._map(mmap.PAGESIZE, port.READ_WRITE, mmap.MAP_SHARED, file.fileno()) for _ in range(2)]
        other = self.second.Lock(self.addresses[0] + 64)
        other.acquire()  # a copy that has acquired nothing knows of nothing
        other.release()

    def expect_one_owner(self, one, other):
        self.assertEqual(one.acquire(), "acquired")
        self.assertEqual((other.acquire(), other.try_acquire(), other.acquire(timeout=1)), ("reentered",) * 3)
        self.assertEqual((one.depth(), other.depth()), (4, 4))
        for lock in one, other, one, other:
            lock.release()
        self.assertEqual((one.owner(), one.needs_repair()), (0, False))

    # Spec: lock.owner.copies
    def test_each_knows_it_where_each_has_mapped_the_lock(self):
        self.expect_one_owner(port.Lock(self.addresses[0]), self.second.Lock(self.addresses[1]))


class NamedSegment(unittest.TestCase):
    def setUp(self):
        self.names = [f"from-specification-test-{os.getpid()}-{number}" for number in (1, 2)]
        self.addCleanup(lambda: [port.Segment.remove(name) for name in self.names])

    # Spec: version.layout, shared.mode
    def test_both_implementations_make_the_same_file(self):
        subprocess.run([partner, "create", self.names[0]], check=True, timeout=LIMIT)
        port.Segment.create(self.names[1]).close()
        paths = [pathlib.Path(f"/dev/shm/heirlock.{name}") for name in self.names]
        self.assertEqual(paths[1].read_bytes(), paths[0].read_bytes())
        self.assertEqual(oct(paths[1].stat().st_mode), oct(paths[0].stat().st_mode))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: from_specification_test.py PARTNER, the built from_specification_partner")
    partner = sys.argv.pop(1)
    unittest.main()
