#!/usr/bin/env python3
"""One lock between Python and a C++ program: exclusion, and inheritance both ways."""
import ctypes
import mmap
import os
import select
import subprocess
import unittest

from heirlock import AcquireResult, Lock, Lockable
from party import LIMIT, Party

ROUNDS = 20000  # as many as partner.cpp makes


class Counter(Lockable):
    """With the lock's name, in a memory that partner.cpp has as well."""

    def __init__(self, name, memory):
        super().__init__(name)
        self.count = ctypes.c_int64.from_buffer(memory, 64)
        self.recovered = 0

    @Lockable.locked
    def increment(self):
        self.count.value += 1

    def recover(self):
        self.recovered += 1


class Partner:
    def __init__(self, test, descriptor, *name):
        self.process = subprocess.Popen([os.environ["HEIRLOCK_PARTNER"], str(descriptor), *name], pass_fds=[descriptor],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        test.addCleanup(self.kill)

    def begin(self, command):
        self.process.stdin.write(command.encode() + b"\n")

    def is_waiting(self):
        return not select.select([self.process.stdout], [], [], 0.1)[0]

    def answer(self):
        if not select.select([self.process.stdout], [], [], LIMIT)[0]:
            raise TimeoutError(f"found no answer within {LIMIT} s")
        return self.process.stdout.readline().decode().strip()

    def call(self, command):
        self.begin(command)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class BothWays:
    """With self.partner, and `self.lock`, the same as a Lock."""

    def prepare(self, *name):
        descriptor = os.memfd_create("python-test")
        self.addCleanup(os.close, descriptor)
        os.ftruncate(descriptor, 4096)
        self.memory = mmap.mmap(descriptor, 4096)
        self.partner = Partner(self, descriptor, *name)
        self.assertEqual(self.partner.call("try"), "acquired")
        self.assertEqual(self.partner.call("release"), "released")

    # Spec: python.interoperable
    def test_each_waits_for_the_other(self):
        self.lock.acquire()
        self.partner.begin("acquire")
        self.assertTrue(self.partner.is_waiting())
        self.lock.release()
        self.assertEqual(self.partner.answer(), "acquired")
        self.assertIs(self.lock.acquire_result(timeout=0.1), AcquireResult.not_acquired)
        self.assertEqual(self.lock.owner(), self.partner.process.pid)
        self.partner.call("release")
        self.assertIs(self.lock.acquire_result(), AcquireResult.acquired)

    # Spec: python.interoperable
    def test_python_inherits_from_a_killed_partner(self):
        self.partner.call("acquire")
        self.assertIs(self.lock.acquire_result(False), AcquireResult.not_acquired)
        self.partner.kill()
        self.assertIs(self.lock.acquire_result(), AcquireResult.inherited)

    # Spec: python.interoperable
    def test_a_partner_that_waits_inherits_from_a_killed_python(self):
        doomed = Party(self, "fork", self.lock)
        doomed.call("acquire")
        self.partner.begin("acquire")
        self.assertTrue(self.partner.is_waiting())
        doomed.kill()
        self.assertEqual((self.partner.answer(), self.partner.answer()), ("recovers", "acquired"))

    # Spec: python.interoperable
    def test_increments_by_both_add_up(self):
        count = ctypes.c_int64.from_buffer(self.memory, 64)
        self.partner.begin("count")
        for _ in range(ROUNDS):
            with self.lock:
                count.value += 1
        self.assertEqual(self.partner.answer(), "counted")
        self.assertEqual(count.value, 2 * ROUNDS)


class InAFile(BothWays, unittest.TestCase):
    def setUp(self):
        self.prepare()
        self.lock = Lock.at(self.memory)


class WithAName(BothWays, unittest.TestCase):
    def setUp(self):
        self.name = f"python-{os.getpid()}-partner"
        self.addCleanup(Lock.remove, self.name)
        self.prepare(self.name)
        self.lock = Lock(self.name)

    # Spec: python.interoperable, python.recover
    def test_a_lockable_of_python_is_the_partners(self):
        counter = Counter(self.name, self.memory)
        self.partner.begin("count")
        for _ in range(ROUNDS):
            counter.increment()
        self.assertEqual((self.partner.answer(), counter.count.value, counter.recovered), ("counted", 2 * ROUNDS, 0))
        self.partner.call("acquire")
        self.partner.kill()
        counter.increment()
        self.assertEqual((counter.count.value, counter.recovered), (2 * ROUNDS + 1, 1))


if __name__ == "__main__":
    unittest.main()
