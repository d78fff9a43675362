#!/usr/bin/env python3
"""Signals: their handlers run while a thread waits, what they raise ends the wait, and no lock is lost to them."""
import mmap
import os
import signal
import threading
import time
import unittest

from heirlock import Lock, Lockable
from party import LIMIT, Party

WAITERS = 1 << 31


class Interrupt(Exception):
    pass


class WhileItWaits(unittest.TestCase):
    def setUp(self):
        self.memory = mmap.mmap(-1, 4096)
        self.lock = Lock.at(self.memory)
        self.holder = Party(self, "thread", self.lock)
        self.holder.call("acquire")

    def handle(self, handler):
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, handler))

    def when_asleep(self, *signals, send=lambda number: os.kill(os.getpid(), number)):
        """Sends them once this thread sleeps in the kernel, a moment apart."""
        def run():
            state = f"/proc/self/task/{threading.main_thread().native_id}/stat"
            for number in signals:
                while True:
                    with open(state, encoding="ascii") as file:
                        if int.from_bytes(self.memory[0:4], "little") & WAITERS and file.read().split()[2] == "S":
                            break
                    time.sleep(0.01)
                time.sleep(0.1)
                self.sent = time.monotonic()
                send(number)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)

    def expect_an_end_soon_by(self, send, *arguments):
        """The soonest of several: a busy machine may put off any one."""
        for _ in range(10):
            self.when_asleep(signal.SIGINT, send=send)
            self.assertRaises(KeyboardInterrupt, self.lock.acquire, *arguments)
            self.assertEqual(self.lock.depth(), 0)
            if time.monotonic() - self.sent < 1:
                return
        self.fail("found no wait that ended within a second, expected each to")

    # Spec: python.signal
    def test_ctrl_c_ends_a_wait_and_leaves_nothing_acquired(self):
        for arguments in (), (True, 3600):
            with self.subTest(arguments=arguments):
                self.expect_an_end_soon_by(lambda number: os.kill(os.getpid(), number), *arguments)  # and not at the next look, after 2 s

    # Spec: python.signal
    def test_a_signal_that_does_not_end_the_sleep_is_seen_soon_after_the_start(self):
        # As one that comes just before the sleep; another thread takes it, so that the moment does not matter.
        self.expect_an_end_soon_by(lambda number: signal.pthread_kill(threading.get_ident(), number))  # it looks again before 0.3 s

    # Spec: python.signal
    def test_each_handler_runs_and_the_wait_goes_on(self):
        handled = []

        def handler(*_):
            handled.append(self.lock.depth())
            if len(handled) == 3:
                self.holder.call("release")

        self.handle(handler)
        self.when_asleep(*[signal.SIGUSR1] * 3)
        self.assertTrue(self.lock.acquire())
        self.assertEqual(handled, [0] * 3)

    # Spec: python.signal
    def test_who_waited_for_a_condition_has_the_lock_when_a_handler_raises(self):
        def handler(*_):
            self.holder.call("release")
            raise Interrupt

        self.handle(handler)
        self.when_asleep(signal.SIGUSR1)
        self.assertRaises(Interrupt, self.lock._acquire_restore, 2)
        self.assertEqual(self.lock.depth(), 2)

    # Spec: python.acquire
    def test_one_that_waits_lets_the_other_threads_go_on(self):
        self.holder.call("release")
        self.lock.acquire()
        self.holder.begin("acquire")
        self.assertTrue(self.holder.is_waiting())  # this thread runs
        self.lock.release()
        self.assertTrue(self.holder.answer())


class Guarded(Lockable):
    @Lockable.locked
    def visit(self):
        pass


class NothingIsLost(unittest.TestCase):
    # Spec: python.with
    def test_at_whatever_moment_a_handler_raises(self):
        guarded, interrupts = Guarded(), 0

        def handler(*_):
            raise Interrupt

        self.addCleanup(signal.alarm, LIMIT)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, handler))
        while interrupts < 10000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + interrupts % 100))
                while True:
                    with guarded:
                        guarded.visit()
            except Interrupt:
                interrupts += 1
            if guarded.depth() != 0:
                self.fail(f"found the lock held after {interrupts} interrupts, expected it free")


if __name__ == "__main__":
    unittest.main()
