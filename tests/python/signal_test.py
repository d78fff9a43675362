#!/usr/bin/env python3
"""Signals: their handlers run while a thread waits, what they raise ends the wait, and no lock is lost to them."""
import ctypes
import mmap
import os
import signal
import threading
import time
import unittest

from heirlock import Lock, Lockable
from party import LIMIT, Party, task


class Interrupt(Exception):
    pass


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


class WhileItWaits(unittest.TestCase):
    def setUp(self):
        self.memory = mmap.mmap(-1, 4096)
        self.lock = Lock.at(self.memory)
        self.holder = Party(self, "thread", self.lock)
        self.holder.call("acquire")

    def handle(self, handler):
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, handler))

    def when_asleep(self, send, is_enough=None, seconds=0):
        """Sends, after this time, when this thread sleeps on the lock: once, or each time until it is enough. Returns the moments."""
        lock, sent = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)), []

        def run():
            time.sleep(seconds)
            while not (is_enough() if is_enough else sent):
                if task.slept_on(threading.main_thread().native_id) == lock:
                    sent.append(time.monotonic())
                    send()
                time.sleep(0.001)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return sent

    # Spec: python.signal
    def test_ctrl_c_ends_a_wait_and_leaves_nothing_acquired(self):
        for arguments in (), (True, 3600):
            with self.subTest(arguments=arguments):
                for _ in range(3):
                    is_over = threading.Event()
                    sent = self.when_asleep(interrupt, is_over.is_set, seconds=0.3)  # when each sleep is long
                    self.addCleanup(is_over.set)
                    self.assertRaises(KeyboardInterrupt, self.lock.acquire, *arguments)
                    is_over.set()
                    self.assertEqual(self.lock.depth(), 0)
                    if len(sent) == 1:  # and it did not sleep on
                        break
                else:
                    self.fail("of 3 waits none ended at the signal; one that comes between two sleeps does not end the wait, but not each can")

    # Spec: python.signal
    def test_a_signal_that_does_not_end_the_sleep_is_seen_soon_after_the_start(self):
        """As one that comes just before the sleep; another thread takes it, so that the moment does not matter."""
        for _ in range(10):  # the soonest: a busy machine may put off any one
            sent = self.when_asleep(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
            self.assertRaises(KeyboardInterrupt, self.lock.acquire)
            if time.monotonic() - sent[0] < 1:
                return
        self.fail("of 10 waits none ended within a second of the signal; each looks for signals before 0.3 s")

    # Spec: python.signal
    def test_each_handler_runs_and_the_wait_goes_on(self):
        handled = []

        def handler(*_):
            handled.append(self.lock.depth())
            if len(handled) == 3:
                self.holder.call("release")

        self.handle(handler)
        self.when_asleep(lambda: interrupt(signal.SIGUSR1), lambda: len(handled) >= 3)
        self.assertTrue(self.lock.acquire())
        self.assertEqual(set(handled), {0})

    # Spec: python.signal
    def test_who_waited_for_a_condition_has_the_lock_when_a_handler_raises(self):
        def handler(*_):
            self.holder.call("release")
            raise Interrupt

        self.handle(handler)
        self.when_asleep(lambda: interrupt(signal.SIGUSR1))
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
