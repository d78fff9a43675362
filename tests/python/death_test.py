#!/usr/bin/env python3
"""What Lockable promises beyond an RLock: the next owner inherits from one that died, and recovers."""
import errno
import multiprocessing
import os
import signal
import threading
import unittest
import warnings

from heirlock import AcquireResult, Lock, Lockable, NotOwnerError, OwnerDiedError
from party import LIMIT, PROCESSES, Party


class Account(Lockable):
    """Moves money in two steps; what a kill leaves between them is undone by recover()."""

    def __init__(self):
        super().__init__()
        self.here, self.there = multiprocessing.RawValue("q", 100), multiprocessing.RawValue("q", 0)
        self.recovered = multiprocessing.RawValue("q", 0)
        self.refuses = multiprocessing.RawValue("b", False)

    @Lockable.locked
    def move(self, amount, between=lambda: None):
        self.here.value -= amount
        between()
        self.there.value += amount

    @Lockable.locked
    def total(self):
        return self.here.value + self.there.value

    def move_and_die(self):
        self.acquire()  # twice: the heir owes one release all the same
        self.move(40, lambda: os.kill(os.getpid(), signal.SIGKILL))

    def recover(self):
        self.recovered.value += 1
        if self.refuses.value:
            self.acquire()  # and not given back
            raise ZeroDivisionError("cannot recover")
        self.here.value += 100 - self.total()

    def often_recovered(self):
        return self.recovered.value


class Unmended(Lockable):
    """Has no recover() of its own."""

    @Lockable.locked
    def visit(self):
        pass


class AfterADeath(unittest.TestCase):
    def accounts(self):
        for kind in PROCESSES:
            with self.subTest(kind=kind):
                account = Account()
                yield account, Party(self, kind, account), Party(self, kind, account)

    def die(self, party):
        party.begin("move_and_die")
        party.process.join(LIMIT)
        self.assertEqual(party.process.exitcode, -signal.SIGKILL)

    # Spec: python.recover
    def test_the_heir_recovers_before_it_goes_on(self):
        for account, doomed, other in self.accounts():
            self.die(doomed)
            self.assertEqual((account.total(), account.recovered.value), (100, 1))
            self.assertEqual((other.call("total"), account.recovered.value), (100, 1))

    # Spec: python.recover.raises
    def test_what_recover_raises_reaches_the_caller_and_the_next_recovers_again(self):
        for account, doomed, other in self.accounts():
            self.die(doomed)
            account.refuses.value = True
            self.assertRaises(ZeroDivisionError, account.acquire)
            self.assertRaises(NotOwnerError, account.release)
            self.assertRaises(ZeroDivisionError, other.call, "total")
            account.refuses.value = False
            self.assertEqual((other.call("total"), account.recovered.value), (100, 3))
            self.assertEqual((account.total(), account.recovered.value), (100, 3))

    # Spec: python.recover.raises
    def test_a_recover_that_has_not_done_its_work_is_an_error(self):
        async def coroutine(_):
            pass

        def generator(_):
            yield

        def greedy(lock):
            lock.acquire()

        for recover, error in (coroutine, TypeError), (generator, TypeError), (greedy, RuntimeError), (Lock.release, RuntimeError):
            lock = type("Odd", (Lockable,), {"recover": recover})()
            doomed = Party(self, "thread", lock)
            doomed.call("acquire")
            doomed.end()
            with warnings.catch_warnings(record=True):  # of a coroutine that was not awaited
                self.assertRaisesRegex(error, r"recover\(\)", lock.acquire)
            self.assertEqual((lock.owner(), lock.needs_repair()), (0, True))

    # Spec: python.recover.default
    def test_without_a_recover_each_acquire_raises_until_another_repairs(self):
        name = f"python-{os.getpid()}-unmended"
        self.addCleanup(Lock.remove, name)
        unmended, lock = Unmended(name), Lock(name)
        doomed = Party(self, "fork", lock)
        doomed.call("acquire")
        doomed.kill()
        for acquire in unmended.acquire, lambda: unmended.acquire(False), unmended.__enter__, unmended.visit:
            with self.assertRaisesRegex(OwnerDiedError, "override it") as raised:
                acquire()
            self.assertEqual((raised.exception.errno, lock.owner(), lock.needs_repair()), (errno.EOWNERDEAD, 0, True))
        self.assertIs(lock.acquire_result(), AcquireResult.inherited)
        unmended.visit()  # reenters
        lock.repaired()
        lock.release()
        unmended.visit()


class Threads(unittest.TestCase):
    # Spec: python.collected
    def test_a_held_lock_that_is_collected_is_inherited_when_its_thread_ends(self):
        names = f"python-{os.getpid()}-collected", f"python-{os.getpid()}-kept"
        locks, results = [Lock(name) for name in names], []

        def hold():
            for name in names:
                Lock(name).acquire()
            Lock().acquire()
            results.extend(lock.acquire_result(False) for lock in locks)

        try:
            thread = threading.Thread(target=hold)
            thread.start()
            thread.join()
            self.assertEqual(results, [AcquireResult.reentered] * 2)
            self.assertEqual([lock.acquire_result(timeout=LIMIT) for lock in locks], [AcquireResult.inherited] * 2)
        finally:
            for name in names:
                Lock.remove(name)


if __name__ == "__main__":
    unittest.main()
