#!/usr/bin/env python3
"""Lock: results, what went wrong, where a lock lies, and what a signal does to one who waits."""
import copy
import ctypes
import errno
import mmap
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

import heirlock
from heirlock import Lock, Outcome
from party import LIMIT, Party

HEADER = pathlib.Path(__file__).resolve().parents[2] / "include/heirlock/heirlock.h"
WAITERS = 1 << 31


class Library(unittest.TestCase):
    # Spec: python.error
    def test_one_that_is_not_there_or_another_is_named(self):
        for path in ("/no/library.so", "libc.so.6"):
            run = subprocess.run([sys.executable, "-c", "import heirlock"], env={**os.environ, "HEIRLOCK_LIBRARY": path}, text=True,
                                 cwd=pathlib.Path(heirlock.__file__).parent, stderr=subprocess.PIPE, timeout=LIMIT)
            self.assertRegex(run.stderr, f"ImportError: heirlock: found no library as {path} .* set HEIRLOCK_LIBRARY to its path")


class Results(unittest.TestCase):
    # Spec: python.result
    def test_the_outcomes_are_those_of_the_c_interface(self):
        declared = re.findall(r"^  heirlock_(\w+) = (-?\d+)", HEADER.read_text(encoding="utf-8"), re.MULTILINE)
        self.assertEqual([(name, int(number)) for name, number in declared],
                         [(outcome.name, outcome.value) for outcome in Outcome])

    # Spec: python.result
    def test_acquire_tells_how_the_lock_was_got(self):
        lock = Lock()
        doomed, other = (Party(self, "fork", lock) for _ in range(2))
        self.assertIs(doomed.call("acquire"), Outcome.acquired)
        self.assertIs(doomed.call("try_acquire"), Outcome.reentered)
        self.assertIs(lock.acquire(0), Outcome.not_acquired)
        doomed.kill()
        self.assertIs(lock.acquire(), Outcome.inherited)
        lock.release()
        self.assertIs(other.call("acquire"), Outcome.inherited)  # as nobody has repaired
        other.call("repaired")
        other.call("release")
        self.assertIs(lock.acquire(), Outcome.acquired)

    # Spec: python.result
    def test_owner_depth_and_needs_repair_are_the_locks(self):
        lock = Lock()
        other = Party(self, "fork", lock)
        self.assertEqual((lock.owner(), lock.depth(), lock.needs_repair()), (0, 0, False))
        lock.acquire()
        lock.acquire()
        self.assertEqual((lock.owner(), lock.depth()), (threading.get_native_id(), 2))
        self.assertEqual((other.call("owner"), other.call("depth")), (threading.get_native_id(), 0))
        lock.release()
        lock.release()
        other.call("acquire")
        other.kill()
        self.assertIs(lock.needs_repair(), True)

    # Spec: python.result
    def test_with_gives_the_result(self):
        lock = Lock()
        with lock as outcome:
            self.assertIs(outcome, Outcome.acquired)
            self.assertEqual(lock.depth(), 1)
        self.assertEqual(lock.depth(), 0)


class Errors(unittest.TestCase):
    def assertRaisesWith(self, kind, outcome, call, *arguments):
        with self.assertRaises(kind) as caught:
            call(*arguments)
        self.assertIs(caught.exception.outcome, outcome)
        self.assertRegex(str(caught.exception), "heirlock: .*found .*expected ")
        return caught.exception

    # Spec: python.error
    def test_what_another_owns_is_an_assertion_error(self):
        for call in (Lock().release, Lock().repaired):
            self.assertRaisesWith(AssertionError, Outcome.not_owner, call)

    # Spec: python.error
    def test_too_deep_is_a_recursion_error(self):
        memory = bytearray(48)
        offset = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % 8
        lock = Lock.at(memory, offset)
        lock.acquire()
        memory[offset + 4:offset + 8] = b"\xff" * 4
        self.assertRaisesWith(RecursionError, Outcome.recursion_too_deep, lock.acquire)
        memory[offset + 4:offset + 8] = (1).to_bytes(4, "little")
        lock.release()

    # Spec: python.error
    def test_a_name_that_none_can_have_is_a_value_error(self):
        for name in ("", "a/b", "x" * 201, "ü", "\udc80"):
            self.assertRaisesWith(ValueError, Outcome.invalid_name, Lock, name)
        self.assertRaisesRegex(ValueError, "found .* expected", Lock, "cut\0short")

    # Spec: python.error
    def test_a_lock_that_is_not_aligned_is_a_value_error(self):
        self.assertRaisesWith(ValueError, Outcome.invalid_argument, Lock.at(mmap.mmap(-1, 4096), 4).acquire)

    # Spec: python.error
    def test_what_the_system_refuses_is_an_os_error_with_its_errno(self):
        name = f"python-{os.getpid()}-error"
        self.assertEqual(self.assertRaisesWith(FileNotFoundError, Outcome.file_missing, Lock.open, name).errno, errno.ENOENT)
        Lock(name)
        self.addCleanup(heirlock.remove, name)
        self.assertEqual(self.assertRaisesWith(FileExistsError, Outcome.file_exists, Lock.create, name).errno, errno.EEXIST)
        os.chmod(f"/dev/shm/heirlock.{name}", 0o666)
        self.assertRaisesWith(PermissionError, Outcome.not_trusted, Lock.open, name)
        os.chmod(f"/dev/shm/heirlock.{name}", 0o600)
        os.truncate(f"/dev/shm/heirlock.{name}", 0)
        self.assertEqual(self.assertRaisesWith(OSError, Outcome.layout_mismatch, Lock.open, name).errno, errno.EPROTO)


class Places(unittest.TestCase):
    # Spec: python.place
    def test_a_lock_may_lie_in_the_callers_memory(self):
        memory = mmap.mmap(-1, 4096)
        lock = Lock.at(memory, 64)
        other = Party(self, "fork", Lock.at(memory, 64))
        lock.acquire()
        self.assertEqual(int.from_bytes(memory[64:68], "little"), threading.get_native_id())
        self.assertIs(other.call("try_acquire"), Outcome.not_acquired)
        lock.release()
        self.assertIs(other.call("try_acquire"), Outcome.acquired)

    # Spec: python.place-kept
    def test_the_callers_memory_cannot_be_unmapped_under_a_lock(self):
        memory = mmap.mmap(-1, 4096)
        lock = Lock.at(memory)
        self.assertRaises(BufferError, memory.close)
        del lock
        memory.close()

    # Spec: python.collected
    def test_the_callers_memory_stays_mapped_while_a_collected_lock_in_it_is_held(self):
        memory = mmap.mmap(-1, 4096)
        Lock.at(memory).acquire()
        self.assertRaises(BufferError, memory.close)
        Lock.at(memory).release()

    # Spec: python.place
    def test_memory_that_is_too_small_or_read_only_is_refused(self):
        for memory in (bytearray(39), bytes(40)):
            self.assertRaises((ValueError, TypeError), Lock.at, memory)

    # Spec: python.place
    def test_a_name_is_one_lock_until_it_is_removed(self):
        name = f"python-{os.getpid()}-name"
        self.addCleanup(heirlock.remove, name)
        lock, again = Lock.create(name), Lock(name)
        lock.acquire()
        self.assertIs(again.acquire(), Outcome.reentered)
        self.assertIs(heirlock.remove(name), True)
        self.assertIs(heirlock.remove(name), False)
        self.assertIs(Lock(name).acquire(), Outcome.acquired)

    # Spec: python.collected
    def test_a_free_lock_that_is_collected_leaves_neither_memory_nor_descriptors(self):
        def used():
            return len(os.listdir("/proc/self/fd")), pathlib.Path("/proc/self/maps").read_text().count("heirlock")

        name = f"python-{os.getpid()}-collected"
        self.addCleanup(heirlock.remove, name)
        before = used()
        for _ in range(3):
            with Lock(), Lock(name):
                self.assertNotEqual(used(), before)
        self.assertEqual(used(), before)

    # Spec: python.pickle
    def test_a_lock_with_a_name_is_pickled_as_its_name(self):
        name = f"python-{os.getpid()}-pickled"
        self.addCleanup(heirlock.remove, name)
        lock = Lock(name)
        lock.acquire()
        for kind in ("spawn", "forkserver"):
            with self.subTest(kind=kind):
                self.assertIs(Party(self, kind, lock).call("try_acquire"), Outcome.not_acquired)

    # Spec: python.pickle
    def test_a_lock_in_the_callers_memory_is_not_pickled(self):
        for kind in ("spawn", "forkserver"):
            with self.subTest(kind=kind), self.assertRaisesRegex(TypeError, "found .* expected"):
                child = multiprocessing.get_context(kind).Process(target=print, args=(Lock.at(bytearray(64)),))
                child.start()

    # Spec: python.copy
    def test_a_lock_cannot_be_copied(self):
        for copied in (copy.copy, copy.deepcopy):
            self.assertRaisesRegex(TypeError, "found a copy of a Lock", copied, Lock())


class Signals(unittest.TestCase):
    def setUp(self):
        self.memory = mmap.mmap(-1, 4096)
        self.lock = Lock.at(self.memory)
        self.holder = Party(self, "thread", self.lock)
        self.holder.call("acquire")

    def when_somebody_sleeps(self, body):
        def run():
            while not int.from_bytes(self.memory[0:4], "little") & WAITERS:
                time.sleep(0.01)
            body()

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)

    # Spec: python.signal-raises
    def test_ctrl_c_ends_a_wait_and_leaves_nothing_acquired(self):
        self.when_somebody_sleeps(lambda: os.kill(os.getpid(), signal.SIGINT))
        self.assertRaises(KeyboardInterrupt, self.lock.acquire)
        self.holder.call("release")
        self.assertIs(self.lock.try_acquire(), Outcome.acquired)

    # Spec: python.signal-raises
    def test_ctrl_c_ends_a_timed_wait_before_its_time(self):
        self.when_somebody_sleeps(lambda: os.kill(os.getpid(), signal.SIGINT))
        self.assertRaises(KeyboardInterrupt, self.lock.acquire, 3600)
        self.holder.call("release")
        self.assertIs(self.lock.try_acquire(), Outcome.acquired)

    # Spec: python.signal
    def test_a_handler_that_returns_lets_the_wait_go_on(self):
        handled = []

        def handler(*_):
            handled.append(self.lock.depth())
            self.holder.call("release")

        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, handler))
        self.when_somebody_sleeps(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        self.assertIs(self.lock.acquire(), Outcome.acquired)
        self.assertEqual(handled, [0])

    # Spec: python.signal-raises
    def test_a_lock_that_comes_with_the_signal_is_given_back(self):
        def handler(*_):
            self.holder.call("release")
            self.lock.acquire()  # as if the wait had ended at this moment
            raise ZeroDivisionError

        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, handler))
        self.when_somebody_sleeps(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        self.assertRaises(ZeroDivisionError, self.lock.acquire)
        self.assertIs(self.holder.call("acquire", LIMIT), Outcome.acquired)

    # Spec: python.threads
    def test_one_that_waits_lets_the_other_threads_go_on(self):
        self.holder.call("release")
        self.lock.acquire()
        self.holder.begin("acquire")
        self.assertTrue(self.holder.is_waiting())  # this thread runs
        self.lock.release()
        self.assertIs(self.holder.answer(), Outcome.acquired)


if __name__ == "__main__":
    unittest.main()
