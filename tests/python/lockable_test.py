#!/usr/bin/env python3
"""Lockable is what multiprocessing.RLock makes of it elsewhere: between threads, and processes forked and spawned."""
import abc
import contextlib
import functools
import inspect
import multiprocessing
import os
import pickle
import time
import unittest

from heirlock import Lockable, NotOwnerError
from party import PROCESSES, Party

KINDS = ("thread", *PROCESSES)


class Counter(Lockable):
    def __init__(self):
        super().__init__()
        self._value = multiprocessing.RawValue("q", 0)

    @Lockable.locked
    def increment(self):
        """One more."""
        self._value.value += 1
        return self._value.value

    @Lockable.locked
    def increment_twice(self):
        self.increment()
        return self.increment()

    @Lockable.locked
    def during(self, body):
        return body()

    def increment_often(self, count):
        for _ in range(count):
            self.increment_twice()

    def seconds_of_acquire(self, *arguments):
        start = time.monotonic()
        taken = self.acquire(*arguments)
        return taken, time.monotonic() - start


class OfEachKind(unittest.TestCase):
    """Each test runs with another thread, and with another process of each kind."""

    def parties(self, *subjects):
        for kind in KINDS:
            with self.subTest(kind=kind):
                counter = Counter()
                yield counter, Party(self, kind, counter)

    def assertIsFreeFor(self, party):
        self.assertTrue(party.call("acquire", False))
        party.call("release")

    # Spec: python.locked
    def test_a_locked_method_is_locked_from_its_call_to_its_return(self):
        for counter, other in self.parties():
            self.assertFalse(counter.during(lambda: other.call("acquire", False)))
            self.assertIsFreeFor(other)

    # Spec: python.locked
    def test_an_exception_unlocks_and_reaches_the_caller(self):
        for counter, other in self.parties():
            with self.assertRaisesRegex(ZeroDivisionError, "division"):
                counter.during(lambda: 1 / 0)
            self.assertIsFreeFor(other)

    # Spec: python.release, python.acquire
    def test_only_the_owner_releases_as_often_as_it_acquired(self):
        for counter, other in self.parties():
            self.assertRaises(AssertionError, counter.release)
            for _ in range(2):
                self.assertTrue(counter.acquire())
            for _ in range(2):
                with self.assertRaisesRegex(NotOwnerError, "does not own the lock: thread [0-9]+ does; "):
                    other.call("release")
                self.assertFalse(other.call("acquire", False))
                counter.release()
            self.assertIsFreeFor(other)

    # Spec: python.locked
    def test_increments_by_both_add_up(self):
        for counter, other in self.parties():
            other.begin("increment_often", 1000)
            counter.increment_often(1000)
            other.answer()
            self.assertEqual(counter.increment(), 4001)

    # Spec: python.acquire
    def test_acquire_waits_for_the_release(self):
        for counter, other in self.parties():
            for arguments in (), (True, 3600):
                self.assertTrue(counter.acquire())
                other.begin("acquire", *arguments)
                self.assertTrue(other.is_waiting())
                counter.release()
                self.assertIs(other.answer(), True)
                other.call("release")

    # Spec: python.acquire
    def test_acquire_waits_for_its_timeout_and_no_less(self):
        for counter, other in self.parties():
            counter.acquire()
            for timeout in (0.1, 0.25):  # within a slice, and beyond one
                taken, seconds = other.call("seconds_of_acquire", True, timeout)
                self.assertIs(taken, False)
                self.assertGreaterEqual(seconds, timeout)

    # Spec: python.acquire
    def test_a_timeout_below_zero_is_zero_and_ignored_when_not_blocking(self):
        for counter, other in self.parties():
            counter.acquire()
            self.assertFalse(other.call("acquire", True, float("-inf")))
            self.assertFalse(other.call("acquire", False, 3600))
            self.assertFalse(other.call("acquire", False, float("nan")))


class Object(unittest.TestCase):
    # Spec: python.locked.function
    def test_a_locked_method_is_the_function_to_those_who_look(self):
        method = Counter.during
        self.assertEqual((Counter.increment.__name__, Counter.increment.__doc__), ("increment", "One more."))
        self.assertEqual((str(inspect.signature(method)), method.__qualname__), ("(self, body)", "Counter.during"))
        self.assertIs(pickle.loads(pickle.dumps(method)), method)
        self.assertEqual(Counter().during(lambda: 3), method(Counter(), body=lambda: 3))

    # Spec: python.locked.refused
    def test_what_has_not_done_its_work_when_it_returns_is_not_locked(self):
        async def coroutine(self):
            pass

        async def asynchronous_generator(self):
            yield

        def generator(self):
            yield

        class Asynchronous:
            async def __call__(self, lock):
                pass

        for method in (coroutine, asynchronous_generator, generator, functools.partial(generator, 1), 3, Asynchronous(),
                       contextlib.contextmanager(generator), contextlib.asynccontextmanager(asynchronous_generator)):
            self.assertRaisesRegex(TypeError, "locked cannot hold ", Lockable.locked, method)

    # Spec: python.base
    def test_it_may_be_a_base_among_others(self):
        class Named:
            def __init__(self, title, **others):
                super().__init__(**others)
                self.title = title

        class First(Lockable, Named):
            pass

        class Last(Named, Lockable):
            pass

        self.assertRaisesRegex(TypeError, "'title'", Lockable, f"python-{os.getpid()}-untitled", title=1)
        self.assertRaises(FileNotFoundError, Lockable.open, f"python-{os.getpid()}-untitled")

        name = f"python-{os.getpid()}-base"
        self.addCleanup(Lockable.remove, name)
        for kind in First, Last:
            with kind(title="a", name=name) as made, kind.open(name, title="b") as opened:
                self.assertEqual((made.title, opened.title, made.depth()), ("a", "b", 2))

    # Spec: python.base
    def test_a_subclass_may_have_short_private_names(self):
        class Pool(Lockable):
            _memory = _place = _count = _is_mine = 0

            def __init__(self):
                super().__init__()
                self._memory = self._place = self._count = 1

            def _use(self):
                raise AssertionError

            _made = _use_segment = _use_received = _use

        name = f"python-{os.getpid()}-private"
        self.addCleanup(Pool.remove, name)
        with Pool() as pool, multiprocessing.Condition(pool) as condition:
            self.assertTrue(condition or pool.depth() == 2)
            self.assertFalse(multiprocessing.Condition(pool).wait(0.01))
            self.assertIn("depth=2", repr(pool))

    # Spec: python.base
    def test_an_abstract_class_has_no_objects(self):
        class Abstract(Lockable, abc.ABC):
            @abc.abstractmethod
            def work(self):
                pass

        self.assertRaisesRegex(TypeError, "abstract", Abstract)

    # Spec: python.repr
    def test_it_says_what_state_it_is_in(self):
        name = f"python-{os.getpid()}-repr"
        self.addCleanup(Lockable.remove, name)
        lock = Lockable(name)
        doomed = Party(self, "fork", lock)
        self.assertEqual(repr(lock), f"<unlocked heirlock.Lockable object '{name}' owner=0 depth=0 at {id(lock):#x}>")
        doomed.call("acquire")
        self.assertIn(f"<locked heirlock.Lockable object '{name}' owner={doomed.process.pid} depth=0 at ", repr(lock))
        doomed.kill()
        lock.acquire_result()
        lock.acquire()
        self.assertIn(f"owner={os.getpid()} depth=2 to be repaired at ", repr(lock))
        self.assertIn("without a lock", repr(Lockable.__new__(Lockable)))

    # Spec: python.acquire
    def test_a_timeout_too_large_to_count_waits_for_ever(self):
        counter = Counter()
        other = Party(self, "thread", counter)
        for timeout in (1e300, float("inf"), 10**400):
            counter.acquire()
            other.begin("acquire", True, timeout)
            self.assertTrue(other.is_waiting())
            counter.release()
            self.assertTrue(other.answer())
            other.call("release")

    # Spec: python.acquire
    def test_a_timeout_that_is_no_number_is_a_value_error_and_changes_nothing(self):
        counter = Counter()
        other = Party(self, "thread", counter)
        other.call("acquire")
        self.assertRaisesRegex(ValueError, "not a number", counter.acquire, True, float("nan"))
        self.assertRaises(AssertionError, counter.release)


if __name__ == "__main__":
    unittest.main()
