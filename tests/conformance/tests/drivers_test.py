#!/usr/bin/env python3
"""drivers_test.py DRIVER [unittest option...]: a driver keeps the protocol of ../README.md where no vector looks.

DRIVER is a program, or a command with its arguments in one word.
"""
import os
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
import unittest

LIMIT = 60  # seconds, for what takes milliseconds on an idle machine


class Process:
    """A driver: what is written to it, and the lines that it writes."""

    def __init__(self, requests, answers):
        self.requests = requests  # file descriptors
        self.answers = answers
        self.unread = b""
        self.pid, self.capabilities = self.ready()

    def ready(self):
        word, pid, *capabilities = self.line().split(" ")
        assert word == "ready", f"the first line begins with {word!r}, expected 'ready'"
        return int(pid), capabilities

    def send(self, *lines):
        os.write(self.requests, "".join(line + "\n" for line in lines).encode())

    def line(self):
        deadline = time.monotonic() + LIMIT
        while b"\n" not in self.unread:
            if not select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no whole line came within {LIMIT} s, only {self.unread!r}")
            read = os.read(self.answers, 65536)
            if not read:
                raise EOFError(f"the driver's output ended after {self.unread!r}")
            self.unread += read
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def ask(self, request):
        self.send(request)
        return self.line()


class DriverTest(unittest.TestCase):
    command = []

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.memory = os.path.join(self.folder.name, "memory")
        with open(self.memory, "wb") as file:
            file.truncate(64 * 64)

    def start(self):
        """Starts one more driver of the same memory; self.popen is the last one."""
        popen = subprocess.Popen(self.command + [self.memory], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(popen.stdin.close)
        self.addCleanup(popen.stdout.close)
        self.addCleanup(popen.wait, LIMIT)
        self.addCleanup(popen.kill)
        self.popen = popen
        return Process(popen.stdin.fileno(), popen.stdout.fileno())

    def start_with(self, *capabilities):
        driver = self.start()
        missing = set(capabilities) - set(driver.capabilities)
        if missing:
            self.skipTest("the driver has no " + ", ".join(sorted(missing)))
        return driver

    # Spec: conformance.protocol
    def test_says_what_it_expects_when_memory_is_missing(self):
        ended = subprocess.run(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertRegex(ended.stderr, "MEMORY")

    # Spec: conformance.protocol
    def test_ends_with_its_input_also_while_a_thread_waits(self):
        driver = self.start_with("threads")
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")
        driver.send("2 acquire 0 -", "3 acquire 0 -")
        self.assertEqual(driver.ask("1 acquire 1 -"), "1 acquired")
        self.popen.stdin.close()
        self.assertEqual(self.popen.wait(LIMIT), 0)

    # Spec: conformance.protocol
    def test_a_command_that_it_does_not_know_is_an_error_and_it_goes_on(self):
        driver = self.start()
        for request in "1 dance - -", "1 dance 0 -", "1 dance @name -", "1 ACQUIRE 0 -":
            self.assertEqual(driver.ask(request), "1 error unknown", request)
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")

    # Spec: conformance.protocol
    def test_a_bad_request_is_an_error_and_it_goes_on(self):
        driver = self.start()
        for request in ("", " ", "1", "1 acquire", "1 acquire 0", "1 acquire 0 - -", "one acquire 0 -", "0 acquire 0 -",
                        "-1 acquire 0 -", "1 acquire - -", "1 acquire 64 -", "1 acquire -1 -", "1 acquire 1x -",
                        "1 acquire 0 soon", "1 acquire 0 10ms", "1 acquire @never-opened -",
                        "1 " + 50000 * "x" + " 0 -", "1 acquire " + 50000 * "0" + " -"):
            self.assertRegex(driver.ask(request), r"^-?\d+ error .", request[:50])
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")

    # Spec: conformance.protocol
    def test_requests_that_come_at_once_are_answered_in_their_order(self):
        driver = self.start()
        driver.send(*20 * ["1 acquire 0 -"], *21 * ["1 release 0 -"])
        answers = [driver.line() for _ in range(41)]
        self.assertEqual(answers, ["1 acquired"] + 19 * ["1 reentered"] + 20 * ["1 done"] + ["1 not_owner"])

    # Spec: conformance.protocol
    def test_lines_of_many_threads_are_not_mixed(self):
        driver = self.start_with("threads")
        counts = {number: 0 for number in range(1, 33)}
        rounds = 100
        for _ in range(rounds):
            driver.send(*[f"{number} acquire {number} -" for number in counts])
        for _ in range(rounds * len(counts)):
            number, result = re.fullmatch(r"(\d+) (acquired|reentered)", driver.line()).groups()
            self.assertEqual(result, "reentered" if counts[int(number)] else "acquired")
            counts[int(number)] += 1
        self.assertEqual(set(counts.values()), {rounds})


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: drivers_test.py DRIVER [unittest option...]")
    DriverTest.command = shlex.split(sys.argv.pop(1))
    unittest.main()
