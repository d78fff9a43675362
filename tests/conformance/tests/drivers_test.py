#!/usr/bin/env python3
"""drivers_test.py DRIVER [unittest option...]: a driver keeps the protocol of ../README.md where no vector looks.

DRIVER is a program, or a command with its arguments in one word.
"""
import os
import re
import select
import shlex
import signal
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
        assert word == "ready", f"found the first line {word!r}, expected 'ready'"
        return int(pid), capabilities

    def send(self, *lines):
        os.write(self.requests, "".join(line + "\n" for line in lines).encode())

    def line(self):
        deadline = time.monotonic() + LIMIT
        while b"\n" not in self.unread:
            if not select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"found no line within {LIMIT} s, but {self.unread!r}")
            read = os.read(self.answers, 65536)
            if not read:
                raise EOFError(f"found the end of the driver's output, after {self.unread!r}")
            self.unread += read
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def ask(self, request):
        self.send(request)
        return self.line()


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


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

    def fork(self, driver, number):
        """Returns the child, when it is ready. The answer is yet to be read."""
        path = os.path.join(self.folder.name, f"child.{time.monotonic_ns()}")
        os.mkfifo(path + ".in")
        os.mkfifo(path + ".out")
        driver.send(f"{number} fork - {path}")
        requests = os.open(path + ".in", os.O_WRONLY)
        self.addCleanup(os.close, requests)
        answers = os.open(path + ".out", os.O_RDONLY)
        self.addCleanup(os.close, answers)
        child = Process(requests, answers)
        self.addCleanup(kill, child.pid)
        return child

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
    def test_tells_its_own_process_id(self):
        driver = self.start()
        self.assertEqual(driver.pid, self.popen.pid)

    # Spec: conformance.protocol
    def test_knows_only_capabilities_of_the_protocol(self):
        driver = self.start()
        self.assertLessEqual(set(driver.capabilities),
                             {"threads", "fork", "exec", "death", "poison", "query", "names", "layout"})

    # Spec: conformance.protocol
    def test_several_processes_share_their_memory(self):
        one, other = self.start(), self.start()
        self.assertEqual(one.ask("1 acquire 63 -"), "1 acquired")
        self.assertEqual(other.ask("1 try 63 -"), "1 busy")
        self.assertEqual(one.ask("1 release 63 -"), "1 done")
        self.assertEqual(other.ask("1 try 63 -"), "1 acquired")

    # Spec: conformance.protocol
    def test_ends_when_its_input_does(self):
        driver = self.start()
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")
        self.popen.stdin.close()
        self.assertEqual(self.popen.wait(LIMIT), 0)

    # Spec: conformance.protocol
    def test_ends_with_its_input_also_while_a_thread_waits(self):
        driver = self.start_with("threads")
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")
        driver.send("2 acquire 0 -", "3 acquire 0 -")
        self.assertEqual(driver.ask("1 acquire 1 -"), "1 acquired")
        self.popen.stdin.close()
        self.assertEqual(self.popen.wait(LIMIT), 0)

    # Spec: conformance.protocol
    def test_exits_with_status_0_and_without_an_answer(self):
        driver = self.start()
        driver.send("1 exit - -")
        with self.assertRaises(EOFError):
            driver.line()
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
    def test_the_main_thread_does_not_end(self):
        driver = self.start()
        self.assertRegex(driver.ask("1 end - -"), "^1 error ")
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")

    # Spec: conformance.protocol
    def test_requests_that_come_at_once_are_answered_in_their_order(self):
        driver = self.start()
        driver.send(*20 * ["1 acquire 0 -"], *21 * ["1 release 0 -"])
        answers = [driver.line() for _ in range(41)]
        self.assertEqual(answers, ["1 acquired"] + 19 * ["1 reentered"] + 20 * ["1 done"] + ["1 not_owner"])

    # Spec: conformance.protocol
    def test_threads_go_on_while_one_waits(self):
        driver = self.start_with("threads")
        self.assertEqual(driver.ask("2 acquire 0 -"), "2 acquired")
        driver.send("1 acquire 0 -")
        self.assertEqual(driver.ask("3 acquire 1 -"), "3 acquired")
        driver.send("2 release 0 -")
        self.assertEqual({driver.line(), driver.line()}, {"2 done", "1 acquired"})

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

    # Spec: conformance.protocol
    def test_thread_1_is_the_main_thread_and_every_other_is_its_own(self):
        driver = self.start_with("threads")
        tids = [int(driver.ask(f"{number} tid - -").split(" ")[1]) for number in (1, 2, 3, 2, 1)]
        self.assertEqual(tids[0], driver.pid)
        self.assertEqual(len(set(tids)), 3)
        self.assertEqual(tids[3:], [tids[1], tids[0]])

    # Spec: conformance.protocol
    def test_a_thread_ends_and_may_begin_again(self):
        driver = self.start_with("threads")
        for _ in range(50):
            tid = driver.ask("2 tid - -").split(" ")[1]
            self.assertEqual(driver.ask("2 end - -"), "2 done")
            # A joined thread has given up its locks, but the kernel takes it out of /proc a little later.
            deadline = time.monotonic() + LIMIT
            while os.path.exists(f"/proc/{driver.pid}/task/{tid}"):
                self.assertLess(time.monotonic(), deadline, f"thread {tid} has not ended")

    # Spec: conformance.protocol
    def test_a_thread_that_is_not_the_leader_executes_the_driver_anew(self):
        driver = self.start_with("threads", "exec")
        for _ in range(3):
            self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")
            self.assertEqual(driver.ask("1 release 0 -"), "1 done")
            driver.send("2 exec - -")
            self.assertEqual(driver.ready(), (driver.pid, driver.capabilities))
            self.assertEqual(driver.ask("1 tid - -"), f"1 {driver.pid}")

    # Spec: conformance.protocol
    def test_a_child_of_any_thread_of_a_busy_process_is_a_driver(self):
        driver = self.start_with("threads", "fork")
        self.assertEqual(driver.ask("1 acquire 0 -"), "1 acquired")
        busy = [f"{other} try @never-opened -" for other in range(12, 32)]
        for number in range(2, 12):
            driver.send(*20 * busy)
            child = self.fork(driver, number)
            answers = [driver.line() for _ in range(20 * len(busy) + 1)]
            self.assertEqual(answers.count(f"{number} done"), 1)
            self.assertEqual(child.ask("1 tid - -"), f"1 {child.pid}")
            self.assertNotEqual(child.pid, driver.pid)
            self.assertEqual(child.ask("1 release 0 -"), "1 not_owner")
            self.assertRegex(child.ask("1 try @never-opened -"), "^1 error ")
            self.assertEqual(child.ask("2 try 0 -"), "2 busy")
            self.assertEqual(child.ask(f"{number} acquire 1 -"), f"{number} acquired")
            self.assertEqual(child.ask(f"{number} release 1 -"), f"{number} done")

    # Spec: conformance.protocol
    def test_a_child_has_open_what_its_parent_had(self):
        driver = self.start_with("fork", "names")
        name = f"@heirlock-drivers-test.{os.getpid()}"
        self.assertEqual(driver.ask(f"1 create {name} -"), "1 done")
        self.assertEqual(driver.ask(f"1 remove {name} -"), "1 done")
        self.assertEqual(driver.ask(f"1 acquire {name} -"), "1 acquired")
        child = self.fork(driver, 1)
        self.assertEqual(driver.line(), "1 done")
        self.assertEqual(child.ask(f"1 try {name} -"), "1 busy")
        self.assertEqual(driver.ask(f"1 release {name} -"), "1 done")
        self.assertEqual(driver.ask(f"1 close {name} -"), "1 done")
        self.assertRegex(driver.ask(f"1 try {name} -"), "^1 error ")
        self.assertEqual(child.ask(f"1 try {name} -"), "1 acquired")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(f"drivers_test.py: found the arguments {sys.argv[1:]}, expected DRIVER [unittest option...]")
    DriverTest.command = shlex.split(sys.argv.pop(1))
    unittest.main()
