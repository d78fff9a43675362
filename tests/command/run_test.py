"""heirlock run, as flock(1) is used: exit status, time limits, signals, nesting, kills."""
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
NAME = f"test.run.{os.getpid()}"
SEGMENT = pathlib.Path(f"/dev/shm/heirlock.{NAME}")
PASSED_ON = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]

# A command that prints its process id and the signals that come, and ends with the status that it reads.
COMMAND = [sys.executable, "-Sc", f"""
import os, signal, sys
for number in {[int(number) for number in PASSED_ON]}:
    signal.signal(number, lambda number, _: print(number, flush=True))
print(os.getpid(), flush=True)
sys.exit(int(sys.stdin.readline()))
"""]


def run(*arguments, name=NAME, **options):
    return subprocess.run([HEIRLOCK, "run", name, *arguments], capture_output=True, text=True, timeout=60, **options)


class Holder(subprocess.Popen):
    """A heirlock run whose command has begun."""

    def __init__(self, **options):
        super().__init__([HEIRLOCK, "run", NAME, "--", *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.command = int(self.stdout.readline())

    def end(self, status=0):
        """Returns what the command has printed since, and the status."""
        print(status, file=self.stdin, flush=True)
        return self.stdout.read(), self.wait(60)

    def __exit__(self, *exception):
        self.kill()
        super().__exit__(*exception)


def await_waiter():
    """Until one sleeps on the lock, whose word then has the bit WAITERS."""
    with SEGMENT.open("rb", buffering=0) as segment:
        lock = int.from_bytes(os.pread(segment.fileno(), 4, 12), sys.byteorder)  # where the header says
        while not int.from_bytes(os.pread(segment.fileno(), 4, lock), sys.byteorder) >> 31:
            time.sleep(0.001)


class Run(unittest.TestCase):
    def setUp(self):
        signal.alarm(120)  # which ends what hangs
        self.addCleanup(SEGMENT.unlink, missing_ok=True)

    # Spec: command.run.status
    def test_the_status_is_the_commands_or_says_why_it_did_not_run(self):
        self.assertEqual(run("--", "sh", "-c", "kill -TERM $$").returncode, 128 + signal.SIGTERM)
        # Also where a parent ignores the ends of its children.
        self.assertEqual(run("sh", "-c", "exit 7", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)).returncode, 7)
        self.assertEqual(run("--", "/dev/null").returncode, os.EX_UNAVAILABLE)
        for wrong in [], ["--timeout", "soon", "true"], ["--timeout", "-1", "true"], ["--timeout", "nan", "true"], ["--unknown", "true"]:
            self.assertEqual((wrong, run(*wrong).returncode), (wrong, os.EX_USAGE))
        self.assertEqual(run("true", name="no/name").returncode, os.EX_USAGE)
        SEGMENT.write_text("no lock")
        self.assertEqual(run("true").returncode, os.EX_NOINPUT)

    # Spec: command.run.holds
    def test_the_command_runs_with_the_lock_held_and_knows_its_name(self):
        nested = run("--", "sh", "-c", f'echo "$HEIRLOCK_NAME"; exec "{HEIRLOCK}" run {NAME} --no-wait true')
        self.assertEqual((nested.stdout, nested.returncode), (f"{NAME}\n", os.EX_TEMPFAIL))
        self.assertIn("is held by thread", nested.stderr)
        self.assertEqual(run("--no-wait", "true").returncode, 0)

    # Spec: command.run.holds
    def test_a_waiter_gets_the_lock_that_the_name_leads_to(self):
        with Holder() as holder, subprocess.Popen([HEIRLOCK, "run", NAME, "--", "sh", "-c", "exit 5"]) as waiter:
            await_waiter()
            SEGMENT.unlink()
            with Holder() as another:
                self.assertEqual(holder.end(), ("", 0))
                await_waiter()
                self.assertEqual(another.end(), ("", 0))
                self.assertEqual(waiter.wait(60), 5)

    # Spec: command.run.status, command.run.signals
    def test_a_timeout_or_a_signal_ends_the_wait_and_leaves_the_lock_alone(self):
        with Holder() as holder, subprocess.Popen([HEIRLOCK, "run", NAME, "--", "true"]) as waiter:
            await_waiter()
            waiter.send_signal(signal.SIGTERM)
            self.assertEqual(waiter.wait(60), -signal.SIGTERM)
            began = time.monotonic()
            self.assertEqual(run("--timeout", "0.1", "--", "true").returncode, os.EX_TEMPFAIL)
            self.assertGreaterEqual(time.monotonic() - began, 0.1)
            self.assertEqual(holder.end(), ("", 0))
        self.assertEqual(run("true").returncode, 0)

    # Spec: command.run.signals
    def test_a_signal_comes_to_the_command_once(self):
        ours, theirs = pty.openpty()

        def lead_the_terminal():
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))

        with Holder(preexec_fn=lead_the_terminal) as holder:
            os.close(theirs)
            for number in PASSED_ON:
                holder.send_signal(number)
                self.assertEqual(int(holder.stdout.readline()), number)
            os.write(ours, b"\x03")
            self.assertEqual(int(holder.stdout.readline()), signal.SIGINT)
            os.close(ours)  # the terminal's end, which the kernel tells the session's leader alone
            self.assertEqual(int(holder.stdout.readline()), signal.SIGHUP)
            self.assertEqual(holder.end(3), ("", 3))

    # Spec: command.run.signals
    def test_it_stops_and_goes_on_with_the_command(self):
        # Of its own group: a group without a parent outside cannot be stopped.
        with Holder(preexec_fn=os.setpgrp) as holder:
            holder.send_signal(signal.SIGTSTP)
            self.assertTrue(os.WIFSTOPPED(os.waitpid(holder.pid, os.WUNTRACED)[1]))
            self.assertIn("\nState:\tT", pathlib.Path(f"/proc/{holder.command}/status").read_text())
            self.assertEqual(run("--no-wait", "true").returncode, os.EX_TEMPFAIL)
            holder.send_signal(signal.SIGCONT)
            self.assertEqual(holder.end(3), ("", 3))

    # Spec: command.run.killed, command.run.repaired
    def test_a_killed_one_takes_its_command_along_and_the_next_must_declare_a_repair(self):
        with Holder() as holder:
            holder.kill()
            self.assertEqual(holder.stdout.read(), "")  # the command's end as well
        refused = run("--", "true")
        self.assertEqual(refused.returncode, os.EX_DATAERR)
        self.assertIn("--repaired", refused.stderr)
        self.assertEqual(run("--repaired", "--", "false").returncode, 1)  # a repair that failed
        self.assertEqual(run("true").returncode, os.EX_DATAERR)
        self.assertEqual(run("--repaired", "--", "true").returncode, 0)
        self.assertEqual(run("true").returncode, 0)


if __name__ == "__main__":
    unittest.main()
