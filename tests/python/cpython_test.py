#!/usr/bin/env python3
"""CPython's own tests of its locks, with Lock and Lockable in the place of RLock. The argument: how processes are started."""
import concurrent.futures
import multiprocessing
import sys
import threading
import unittest

try:
    from test import _test_multiprocessing as processes, lock_tests as threads
except ImportError as error:
    sys.exit(f"skipped: found no tests of CPython in {sys.executable} ({error}); install its libpython3.x-testsuite")

from heirlock import Lock, Lockable

DIFFERENCES = {  # Each of these has to fail, for this reason.
    "RLockTests.test_timeout": "as in multiprocessing, a timeout may be below zero, and is ignored without blocking",
    "_TestLock.test_lock": "expects that the owner itself cannot acquire the lock again",
    **dict.fromkeys(("_TestSemaphore.test_semaphore", "_TestSemaphore.test_bounded_semaphore"), "a lock has one owner at a time"),
}
processes.DELTA = 0.5  # seconds that others have to wake up
another_thread = concurrent.futures.ThreadPoolExecutor(1)


def add(kind, base, **members):
    made = type(f"{kind.__name__}In{base.__name__}", (base, processes.ProcessesMixin, unittest.TestCase), {"__module__": __name__, **members})
    globals()[made.__name__] = made
    for test in [test for test in dir(made) if f"{base.__name__}.{test}" in DIFFERENCES]:
        unittest.expectedFailure(getattr(made, test))


# Spec: python.acquire, python.release, lock.reentry.depth, python.condition, python.signal, python.repr
for a_lock in Lock, Lockable:
    @staticmethod
    def semaphore(value, kind=a_lock):
        lock = kind()
        if value == 0:
            another_thread.submit(lock.acquire).result()
        return lock

    add(a_lock, threads.RLockTests, locktype=a_lock)
    add(a_lock, threads.ConditionTests, condtype=staticmethod(lambda lock=None, kind=a_lock: threading.Condition(lock or kind())))
    add(a_lock, processes._TestLock, Lock=a_lock, RLock=a_lock)
    add(a_lock, processes._TestCondition, Condition=staticmethod(lambda kind=a_lock: multiprocessing.Condition(kind())))
    add(a_lock, processes._TestSemaphore, Semaphore=semaphore, BoundedSemaphore=semaphore)
if __name__ == "__main__":
    another_thread.submit(int).result()  # which starts it, before the tests look which threads there are
    multiprocessing.set_start_method(sys.argv[1], force=True)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
