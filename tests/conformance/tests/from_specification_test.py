#!/usr/bin/env python3
"""from_specification_test.py PARTNER: does the second implementation share its locks with C++ processes?

PARTNER is from_specification_partner.cpp, built."""
import ctypes
import mmap
import os
import pathlib
import random
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
            address = port._map(128, port.READ_WRITE, mmap.MAP_SHARED, file.fileno())
        self.lock = port.Lock(address)
        self.first = ctypes.c_long.from_address(address + 64)
        self.second = ctypes.c_long.from_address(address + 72)

    def keep(self, times):
        for _ in range(times):
            if self.lock.acquire() == port.INHERITED:
                self.second.value = self.first.value
                self.lock.repaired()
            if self.first.value != self.second.value:
                sys.exit(f"found {self.first.value} and {self.second.value}, expected the same: two owners at once")
            self.first.value += 1
            self.second.value += 1
            self.lock.release()


class Sharing(unittest.TestCase):
    def setUp(self):
        self.memory = tempfile.NamedTemporaryFile(dir="/dev/shm")
        self.addCleanup(self.memory.close)
        self.memory.truncate(128)
        self.books = Books(self.memory.name)
        self.running = []
        self.addCleanup(self.kill_all)

    def start_cpp(self, times):
        self.running.append(os.spawnv(os.P_NOWAIT, partner, [partner, "keep", self.memory.name, str(times)]))

    def start_python(self, times):
        """Without the slices that end a sleep, which would wake who is forgotten."""
        child = os.fork()
        if child == 0:
            with mock.patch.object(port._Patience, "FIRST_SLICE", port.FOR_EVER):
                try:
                    self.books.keep(times)
                    os._exit(0)
                except BaseException as error:
                    print(error, file=sys.stderr)
                    os._exit(1)
        self.running.append(child)
        return child

    def kill_all(self):
        while self.running:
            os.kill(self.running[-1], signal.SIGKILL)
            os.waitpid(self.running.pop(), 0)

    def expect_all_to_end_well(self):
        give_up = time.monotonic() + LIMIT
        for process in list(self.running):
            while (ended := os.waitpid(process, os.WNOHANG)) == (0, 0):
                self.assertLess(time.monotonic(), give_up, f"found a process still waiting, the word being {self.books.lock._word.value:#x}")
                time.sleep(0.01)
            self.running.remove(process)
            self.assertEqual(ended[1], 0, "a process ended badly; its message stands above")

    # Spec: lock.acquire.exclusion, lock.acquire.progress, lock.acquire.visibility, version.layout
    def test_processes_of_both_implementations_lose_no_addition_and_forget_no_waiter(self):
        for _ in range(3):
            self.start_python(5000)
        for _ in range(2):
            self.start_cpp(50000)
        self.expect_all_to_end_well()
        self.assertEqual((self.books.first.value, self.books.second.value), (115000, 115000))

    # Spec: lock.inherit.death, lock.acquire.progress, version.layout
    def test_no_death_within_the_second_implementation_stops_either(self):
        for _ in range(2):
            self.start_python(3000)
        for _ in range(2):
            self.start_cpp(30000)
        for _ in range(60):
            victim = self.start_python(10**9)
            time.sleep(random.uniform(0, 0.03))  # for a victim in another place; no outcome depends on it
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            self.running.remove(victim)
        self.expect_all_to_end_well()
        if self.books.lock.acquire() != port.INHERITED:
            self.assertEqual(self.books.first.value, self.books.second.value)
        self.assertGreaterEqual(self.books.first.value, 66000)
        self.books.lock.release()


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

    # Spec: shared.layout
    def test_a_segment_with_any_byte_of_its_header_changed_is_refused(self):
        port.Segment.create(self.names[0]).close()
        with open(f"/dev/shm/heirlock.{self.names[0]}", "r+b", buffering=0) as file:
            for place in range(64):
                with self.subTest(place=place):
                    whole = os.pread(file.fileno(), 1, place)
                    os.pwrite(file.fileno(), bytes([whole[0] ^ 1]), place)
                    self.assertRaises(port.LayoutMismatch, port.Segment.open, self.names[0])
                    os.pwrite(file.fileno(), whole, place)
        port.Segment.open(self.names[0]).close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("found no argument, expected the path of from_specification_partner, built")
    partner = sys.argv.pop(1)
    unittest.main()
