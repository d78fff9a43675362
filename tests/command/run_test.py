"""heirlock run, as flock(1) is used: exit status, time limits, signals, nesting, kills."""
import os
import pty
import signal
import subprocess
import sys
import time
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
NAME = f"test.run.{os.getpid()}"
BUSY, OWNER_DIED, CANNOT_EXECUTE, NO_LOCK, USAGE = 75, 65, 69, 66, 64
PASSED_ON = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]

# A command that says when it has begun, and ends with what it is told by a line, or with a signal's number.
COMMAND = [sys.executable, "-Sc", f"""
import os, signal, sys
signals = {[int(number) for number in PASSED_ON]}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
print(os.getpid(), flush=True)
if sys.argv[1] == "signals":
    while (number := signal.sigwait(signals)) != signal.SIGUSR1:
        print(number, flush=True)
    sys.exit(number)
sys.exit(int(sys.stdin.readline()))
"""]


def run(*arguments, name=NAME, **options):
    return subprocess.run([HEIRLOCK, "run", name, *arguments], capture_output=True, text=True, timeout=60, **options)


class Holder:
    """A heirlock run whose command has begun."""

    def __init__(self, awaits="line", options=(), **popen):
        self.process = subprocess.Popen([HEIRLOCK, "run", NAME, *options, "--", *COMMAND, awaits], text=True,
                                        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **popen})

    def __enter__(self):
        self.command = int(self.process.stdout.readline())
        return self

    def end(self, status=0):
        self.process.communicate(f"{status}\n", timeout=60)
        return self.process.returncode

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def await_waiter(waiter):
    """Until it sleeps on the lock, whose word then has the bit WAITERS. Returns false if it ends instead."""
    with open(f"/dev/shm/heirlock.{NAME}", "rb") as segment:
        lock = int.from_bytes(os.pread(segment.fileno(), 4, 12), sys.byteorder)  # where the header says
        while not int.from_bytes(os.pread(segment.fileno(), 4, lock), sys.byteorder) >> 31:
            if waiter.poll() is not None:
                return False
            time.sleep(0.001)
    return True


class Run(unittest.TestCase):
    def tearDown(self):
        try:
            os.remove(f"/dev/shm/heirlock.{NAME}")
        except FileNotFoundError:
            pass

    # Spec: command.run.status
    def test_the_status_is_the_commands(self):
        self.assertEqual(run("--", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(run("--", "sh", "-c", "kill -TERM $$").returncode, 128 + signal.SIGTERM)
        # Also where a parent ignores the ends of its children.
        ignoring = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self.assertEqual(run("sh", "-c", "exit 7", preexec_fn=ignoring).returncode, 7)

    # Spec: command.run.status
    def test_each_reason_not_to_run_the_command_has_its_status(self):
        self.assertEqual(run("--", "/dev/null").returncode, CANNOT_EXECUTE)
        self.assertEqual(run().returncode, USAGE)
        for timeout in "soon", "-1", "nan":
            self.assertEqual(run("--timeout", timeout, "--", "true").returncode, USAGE)
        self.assertEqual(run("--unknown", "--", "true").returncode, USAGE)
        self.assertEqual(run("true", name="no/name").returncode, USAGE)
        with open(f"/dev/shm/heirlock.{NAME}", "w") as other:
            other.write("no lock")
        self.assertEqual(run("true").returncode, NO_LOCK)

    # Spec: command.run.holds
    def test_the_command_runs_with_the_lock_held_and_knows_its_name(self):
        self.assertEqual(run("--", "sh", "-c", "echo $HEIRLOCK_NAME").stdout, f"{NAME}\n")
        nested = run("--", HEIRLOCK, "run", NAME, "--no-wait", "--", "true")
        self.assertEqual(nested.returncode, BUSY)
        self.assertIn("is held by thread", nested.stderr)
        self.assertEqual(run("--", HEIRLOCK, "run", f"{NAME}.inner", "--", "true").returncode, 0)
        os.remove(f"/dev/shm/heirlock.{NAME}.inner")
        self.assertEqual(run("--no-wait", "true").returncode, 0)

    # Spec: command.run.holds
    def test_a_waiter_gets_the_lock_next(self):
        with Holder() as holder:
            with subprocess.Popen([HEIRLOCK, "run", NAME, "--timeout", "60", "--", "sh", "-c", "exit 5"]) as waiter:
                self.assertTrue(await_waiter(waiter))
                self.assertEqual(holder.end(), 0)
                self.assertEqual(waiter.wait(60), 5)

    # Spec: command.run.holds
    def test_a_waiter_moves_to_the_new_lock_of_a_removed_name(self):
        with Holder() as holder:
            waiter = subprocess.Popen([HEIRLOCK, "run", NAME, "--", "sh", "-c", "exit 5"])
            self.assertTrue(await_waiter(waiter))
            os.remove(f"/dev/shm/heirlock.{NAME}")
            with Holder() as another:
                self.assertEqual(holder.end(), 0)
                self.assertTrue(await_waiter(waiter))
                self.assertEqual(another.end(), 0)
                self.assertEqual(waiter.wait(60), 5)

    # Spec: command.run.status
    def test_a_timeout_ends_the_wait_and_not_before(self):
        with Holder() as holder:
            began = time.monotonic()
            self.assertEqual(run("--timeout", "0.3", "--", "true").returncode, BUSY)
            self.assertGreaterEqual(time.monotonic() - began, 0.3)
            holder.end()

    # Spec: command.run.signals
    def test_a_signal_goes_to_the_command(self):
        for number in PASSED_ON:
            with self.subTest(number.name), Holder("signals") as holder:
                holder.process.send_signal(number)
                if number != signal.SIGUSR1:
                    self.assertEqual(int(holder.process.stdout.readline()), number)
                    holder.process.send_signal(signal.SIGUSR1)
                self.assertEqual(holder.process.wait(60), signal.SIGUSR1)

    # Spec: command.run.signals
    def test_a_terminals_signal_comes_to_the_command_once(self):
        ours, theirs = pty.openpty()

        def lead_the_terminal():
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))

        with Holder("signals", stdin=theirs, preexec_fn=lead_the_terminal) as holder:
            os.write(ours, b"\x03")
            self.assertEqual(int(holder.process.stdout.readline()), signal.SIGINT)
            os.close(ours)  # the terminal's end, which the kernel tells the session's leader alone
            self.assertEqual(int(holder.process.stdout.readline()), signal.SIGHUP)
            holder.process.send_signal(signal.SIGUSR1)
            self.assertEqual(holder.process.stdout.read(), "")
            self.assertEqual(holder.process.wait(60), signal.SIGUSR1)
        os.close(theirs)

    # Spec: command.run.signals
    def test_it_stops_and_goes_on_with_the_command(self):
        # Of its own group: a group without a parent outside cannot be stopped.
        with Holder(preexec_fn=os.setpgrp) as holder:
            holder.process.send_signal(signal.SIGTSTP)
            self.assertTrue(os.WIFSTOPPED(os.waitpid(holder.process.pid, os.WUNTRACED)[1]))
            with open(f"/proc/{holder.command}/stat") as stat:
                self.assertEqual(stat.read().rpartition(")")[2].split()[0], "T")
            self.assertEqual(run("--no-wait", "true").returncode, BUSY)
            holder.process.send_signal(signal.SIGCONT)
            self.assertEqual(holder.end(3), 3)

    # Spec: command.run.signals
    def test_a_signal_ends_the_wait_and_leaves_the_lock_alone(self):
        with Holder() as holder:
            waiter = subprocess.Popen([HEIRLOCK, "run", NAME, "--", "true"])
            self.assertTrue(await_waiter(waiter))
            waiter.send_signal(signal.SIGTERM)
            self.assertEqual(waiter.wait(60), -signal.SIGTERM)
            self.assertEqual(holder.end(), 0)
        self.assertEqual(run("true").returncode, 0)

    # Spec: command.run.killed, command.run.repaired
    def test_a_killed_one_takes_its_command_along_and_the_next_must_declare_a_repair(self):
        with Holder() as holder:
            holder.process.kill()
            self.assertEqual(holder.process.stdout.read(), "")  # the command's end as well
        refused = run("--", "true")
        self.assertEqual(refused.returncode, OWNER_DIED)
        self.assertIn("--repaired", refused.stderr)
        self.assertEqual(run("--repaired", "--", "false").returncode, 1)  # a repair that failed
        self.assertEqual(run("true").returncode, OWNER_DIED)
        self.assertEqual(run("--repaired", "--", "true").returncode, 0)
        self.assertEqual(run("true").returncode, 0)


if __name__ == "__main__":
    unittest.main()
