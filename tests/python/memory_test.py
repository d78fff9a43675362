#!/usr/bin/env python3
"""The memory and the descriptors that locks without a name take, and what becomes of them."""
import errno
import itertools
import multiprocessing
import os
import pathlib
import resource
import unittest
from unittest import mock

import heirlock
from heirlock import AcquireResult, Lock
from party import LIMIT, in_a_child


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def mappings():
    files = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8")
    return files.count("memfd:heirlock") + files.count("/dev/shm/heirlock")


def take_all(locks, connection):
    taken = [lock.acquire(False) for lock in locks]
    for lock in itertools.compress(locks, taken):
        lock.release()
    during = mappings()
    locks.clear()
    del lock
    connection.send((taken, during, mappings()))


class Descriptors(unittest.TestCase):
    # Spec: python.collected
    def test_a_free_lock_that_is_collected_leaves_neither_memory_nor_descriptors(self):
        def body():
            name = f"python-{os.getpid()}-collected"
            before = descriptors(), mappings()
            for _ in range(3):
                with Lock(), Lock(name):
                    during = descriptors(), mappings()
            Lock.remove(name)
            return during[0] - before[0], during[1] - before[1], (descriptors(), mappings()) == before

        self.assertEqual(in_a_child(body), repr((1, 2, True)))

    # Spec: python.collected
    def test_nor_does_one_that_a_child_was_given(self):
        for kind in "spawn", "forkserver":
            self.assertEqual(self.ask_child(kind, [Lock(), Lock()]), ([True, True], 1, 0))

    # Spec: python.descriptors
    def test_an_exception_while_a_lock_is_made_leaves_no_descriptor(self):
        before = descriptors()
        with mock.patch.object(heirlock, "_newest", None), mock.patch.object(heirlock._Arena, "__init__", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, Lock)  # and not the error of a second close
        self.assertEqual(descriptors(), before)

    # Spec: python.descriptors
    def test_ten_thousand_locks_take_one_descriptor_here_and_in_a_spawned_child(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard[1]))
        before = descriptors()
        locks = [Lock() for _ in range(10000)]
        self.assertLessEqual(descriptors() - before, 1)
        for lock in locks[::2]:
            lock.acquire()
        for kind in "fork", "spawn", "forkserver":
            taken, count, _ = self.ask_child(kind, locks)
            self.assertEqual(taken, [False, True] * 5000)
            self.assertEqual(count, 1)

    # Spec: python.fork
    def test_a_lock_of_a_child_is_no_lock_of_its_parent(self):
        kept = Lock()
        in_a_child(lambda: Lock().acquire())  # which dies with it
        self.assertIs(Lock().acquire_result(), AcquireResult.acquired)
        self.assertEqual(kept.owner(), 0)

    # Spec: python.descriptors
    def test_a_descriptor_that_was_closed_is_neither_used_nor_closed_again(self):
        def body():
            lock = Lock()
            number = lock._heirlock_memory.descriptor()
            os.dup2(os.memfd_create("of a stranger"), number)  # as a daemon that closes all, and opens its own
            os.ftruncate(number, 4096)
            with self.assertRaisesRegex(OSError, "the program has closed it") as raised:
                self.ask_child("spawn", [lock])
            lock.acquire()  # all else goes on
            lock.release()
            answer, *_ = self.ask_child("spawn", [Lock()])  # one that was made after it
            del lock
            return raised.exception.errno == errno.EBADF, answer, os.fstat(number).st_size

        self.assertEqual(in_a_child(body), repr((True, [True], 4096)))

    def ask_child(self, kind, locks):
        """Which of the locks it gets at once, how many mappings they lie in, and how many are left without them."""
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context(kind).Process(target=take_all, args=(locks, theirs))
        child.start()
        self.assertTrue(ours.poll(LIMIT))
        child.join()
        return ours.recv()


if __name__ == "__main__":
    unittest.main()
