#!/usr/bin/env python3
"""Lock: results, what went wrong, where a lock lies, and what of Python's own may be built on it."""
import copy
import ctypes
import errno
import fractions
import mmap
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import unittest

from heirlock import AcquireResult, Lock, Lockable, NotOwnerError, OwnerDiedError
from party import LIMIT, PROCESSES, Party


IMPORT_IN_A_SUBINTERPRETER = """
try:
    import _interpreters
    made = _interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as _interpreters
    made = _interpreters.create(isolated=False)
_interpreters.run_string(made, '''if True:
    try:
        import heirlock
    except ImportError as error:
        print(error)
''')
import heirlock
print(heirlock.Lock().acquire())
"""


class Results(unittest.TestCase):
    # Spec: python.result
    def test_acquire_result_tells_how_the_lock_was_got(self):
        lock = Lock()
        doomed, other = (Party(self, "fork", lock) for _ in range(2))
        self.assertIs(doomed.call("acquire_result"), AcquireResult.acquired)
        self.assertIs(doomed.call("acquire_result", False), AcquireResult.reentered)
        self.assertIs(lock.acquire_result(timeout=0), AcquireResult.not_acquired)
        doomed.kill()
        self.assertIs(lock.acquire_result(), AcquireResult.inherited)
        lock.release()
        self.assertIs(other.call("acquire_result"), AcquireResult.inherited)  # as nobody has repaired
        other.call("repaired")
        other.call("release")
        self.assertIs(lock.acquire_result(), AcquireResult.acquired)

    # Spec: python.recover.default
    def test_what_cannot_tell_of_a_death_raises(self):
        lock = Lock()
        doomed = Party(self, "fork", lock)
        doomed.call("acquire")
        doomed.kill()
        for acquire in lock.acquire, lambda: lock.acquire(False), lock.__enter__:
            self.assertRaisesRegex(OwnerDiedError, "acquire_result", acquire)
            self.assertEqual((lock.owner(), lock.needs_repair()), (0, True))


class Arguments(unittest.TestCase):
    # Spec: python.acquire
    def test_they_are_those_of_multiprocessing(self):
        lock = Lock()
        Party(self, "fork", lock).call("acquire", True)  # for ever, and not for a second
        self.assertEqual([lock.acquire(False), lock.acquire(blocking=False), lock.acquire(block=False), lock.acquire(True, 0.01),
                          lock.acquire(timeout=-1), lock.acquire(timeout=fractions.Fraction(1, 100)), lock.acquire(True, -10**400)],
                         [False] * 7)
        for wrong in (lambda: lock.acquire(True, None, 1), lambda: lock.acquire(True, "1"), lambda: lock.acquire(timeouts=1),
                      lambda: lock.acquire(True, block=True)):
            self.assertRaises(TypeError, wrong)


class Errors(unittest.TestCase):
    def assertRaisesWith(self, kind, number, call, *arguments):
        with self.assertRaisesRegex(kind, "heirlock: .*; ") as caught:
            call(*arguments)
        self.assertEqual(getattr(caught.exception, "errno", None), number)

    # Spec: python.error
    def test_what_another_owns_is_an_assertion_error_and_a_runtime_error(self):
        for call in (Lock().release, Lock().repaired, Lock().__exit__, Lock()._release_save):
            self.assertRaisesWith(NotOwnerError, None, call)
        self.assertEqual(NotOwnerError.__bases__, (AssertionError, RuntimeError))

    # Spec: python.error
    def test_too_deep_is_a_recursion_error(self):
        memory = bytearray(48)
        offset = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % 8
        lock = Lock.at(memory, offset)
        lock.acquire()
        memory[offset + 4:offset + 8] = b"\xff" * 4
        self.assertRaisesWith(RecursionError, None, lock.acquire)
        memory[offset + 4:offset + 8] = (1).to_bytes(4, "little")
        lock.release()

    # Spec: python.error
    def test_a_name_that_none_can_have_is_a_value_error(self):
        for name in ("", "a/b", "x" * 201, "ü"):
            self.assertRaisesWith(ValueError, None, Lock, name)
        for name in ("cut\0short", "\udc80"):
            self.assertRaises(ValueError, Lock, name)

    # Spec: python.error
    def test_what_the_system_refuses_is_an_os_error_with_its_errno(self):
        name = f"python-{os.getpid()}-error"
        self.assertRaisesWith(FileNotFoundError, errno.ENOENT, Lock.open, name)
        Lock(name)
        self.addCleanup(Lock.remove, name)
        self.assertRaisesWith(FileExistsError, errno.EEXIST, Lock.create, name)
        os.chmod(f"/dev/shm/heirlock.{name}", 0o666)
        self.assertRaisesWith(PermissionError, errno.EACCES, Lock.open, name)
        os.chmod(f"/dev/shm/heirlock.{name}", 0o600)
        os.truncate(f"/dev/shm/heirlock.{name}", 0)
        self.assertRaisesWith(OSError, errno.EPROTO, Lock.open, name)

    # Spec: python.subinterpreter
    def test_a_subinterpreter_is_refused(self):
        done = subprocess.run([sys.executable, "-c", IMPORT_IN_A_SUBINTERPRETER], capture_output=True, text=True, check=False)
        self.assertRegex(done.stdout, r"\Aheirlock: .*subinterpreter.*\nTrue\n\Z", done.stderr)

    # Spec: python.error
    def test_an_object_whose_init_was_forgotten_says_so(self):
        class Forgetful(Lockable):
            def __init__(self):
                pass

        self.assertRaisesRegex(RuntimeError, r"Forgetful.*super\(\).__init__\(\)", Forgetful().acquire)


class Places(unittest.TestCase):
    # Spec: python.place
    def test_a_lock_may_lie_in_the_callers_memory(self):
        memory = mmap.mmap(-1, 4096)
        lock = Lock.at(memory, 64)
        other = Party(self, "fork", Lock.at(memory, 64))
        lock.acquire()
        self.assertEqual(int.from_bytes(memory[64:68], "little"), threading.get_native_id())
        self.assertFalse(other.call("acquire", False))
        lock.release()
        self.assertTrue(other.call("acquire", False))

    # Spec: python.place
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
    def test_memory_that_is_too_small_or_read_only_or_not_aligned_is_refused(self):
        for memory, offset in (bytearray(39), 0), (bytes(40), 0), (mmap.mmap(-1, 4096), 4):
            self.assertRaises((ValueError, TypeError), Lock.at, memory, offset)


class Slotted(Lockable):
    __slots__ = ("slot",)


class Pickles(unittest.TestCase):
    # Spec: python.pickle
    def test_a_lock_with_a_name_is_pickled_as_its_name(self):
        name = f"python-{os.getpid()}-pickled"
        self.addCleanup(Lock.remove, name)
        lock = Lock(name)
        lock.acquire()
        for kind in PROCESSES:
            with self.subTest(kind=kind), multiprocessing.get_context(kind).Pool(1) as pool:
                self.assertIs(pool.apply(Lock.acquire_result, (lock, False)), AcquireResult.not_acquired)
        with multiprocessing.Pool(1) as pool:
            self.assertEqual(pool.apply(Lock.owner, (lock,)), threading.get_native_id())

    # Spec: python.pickle
    def test_what_an_object_keeps_is_pickled_with_it(self):
        name = f"python-{os.getpid()}-object"
        self.addCleanup(Lock.remove, name)
        lock = Slotted(name)
        lock.kept, lock.slot = 3, 4
        again = pickle.loads(pickle.dumps(lock))
        self.assertEqual((again.kept, again.slot, type(again), lock.acquire(), again.depth()), (3, 4, Slotted, True, 1))

    # Spec: python.pickle
    def test_a_lock_without_a_name_is_pickled_for_a_process_that_is_started_alone(self):
        self.assertRaisesRegex(RuntimeError, r"inheritance; .* Lock.open\(name\)", pickle.dumps, Lock())

    # Spec: python.pickle
    def test_a_lock_in_the_callers_memory_is_not_pickled(self):
        for kind in ("spawn", "forkserver"):
            with self.subTest(kind=kind), self.assertRaisesRegex(TypeError, "cannot be pickled"):
                multiprocessing.get_context(kind).Process(target=print, args=(Lock.at(mmap.mmap(-1, 64)),)).start()

    # Spec: python.pickle
    def test_a_lock_cannot_be_copied(self):
        for copied in (copy.copy, copy.deepcopy):
            self.assertRaisesRegex(TypeError, "a Lockable cannot be copied", copied, Lockable())


def await_notice(condition, count):
    with condition:
        count.value += 1
        condition.notify()
        return condition.wait_for(lambda: count.value == 2, LIMIT)


class BuiltOn(unittest.TestCase):
    # Spec: python.condition
    def test_conditions_of_threads_and_of_processes_and_values(self):
        for module, party in (threading, threading.Thread), (multiprocessing, multiprocessing.Process):
            with self.subTest(module=module):
                lock = Lock()
                condition, count = module.Condition(lock), multiprocessing.Value("i", 0, lock=lock)
                self.assertRaises((AssertionError, RuntimeError), condition.notify)
                with lock, condition:  # deeper than once
                    other = party(target=await_notice, args=(condition, count))
                    other.start()
                    self.assertTrue(condition.wait_for(lambda: count.value == 1, LIMIT))
                    self.assertEqual(lock.depth(), 2)
                    count.value += 1
                    condition.notify()
                other.join(LIMIT)
                self.assertFalse(other.is_alive())

    # Spec: python.condition
    def test_a_death_during_a_wait_reaches_the_one_who_waits(self):
        lock = Lock()
        condition, doomed = threading.Condition(lock), Party(self, "fork", lock)
        killer = threading.Thread(target=lambda: (doomed.answer(), doomed.kill(), lock.acquire_result(), condition.notify(), lock.release()))
        with self.assertRaises(OwnerDiedError), condition:
            doomed.begin("acquire")
            self.assertTrue(doomed.is_waiting())
            killer.start()
            condition.wait(LIMIT)  # which gives it the lock
        killer.join()
        self.assertEqual((lock.owner(), lock.needs_repair()), (0, True))


if __name__ == "__main__":
    unittest.main()
