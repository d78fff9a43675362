"""Makes the measurements, in rounds, at random."""
import ctypes
import os
import random
import shlex
import signal
import subprocess
import time

LIMIT = 120  # seconds that one measurement may take; a lock that hangs must not hang the others
MINIMUM = 3  # rounds: with fewer there is no spread
CONFIDENT = 1.05  # what a round may take longer than the longest before it

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A measurement gave no result."""


def run(command, limit=LIMIT):
    """Returns what the program printed. It does not outlive this one, and what hangs is ended with all that it started."""
    parent = os.getpid()

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                              preexec_fn=prepare) as child:
            try:
                output, errors = child.communicate(timeout=limit)
            except BaseException as reason:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                if isinstance(reason, subprocess.TimeoutExpired):
                    raise Failed(f"found it still running after {limit:g} s, expected it to end by itself") from None
                raise
    except OSError as error:
        raise Failed(f"cannot run it: {error.strerror}") from None
    if child.returncode != 0:
        raise Failed(f"found the exit status {child.returncode}, expected 0: {errors.strip() or 'it said nothing'}")
    return output


class Rounds:
    """Measures each group once a round: groups in random order, so that the drift of the machine hits all rows alike, and the
    measurements of a group next to each other and in random order, so that it hits all locks of a row alike."""

    def __init__(self, groups, samples, seed, report=lambda number: None):
        self.groups, self.samples = groups, samples
        self.random = random.Random(seed)
        self.report = report
        self.done, self.seconds, self.longest, self.failures = 0, 0, 0, []

    def measure(self, budget, rounds=None, first=0):
        """As many rounds as fit into so many seconds, but at least MINIMUM; or exactly so many."""
        began = time.monotonic()
        while self.is_another_round(budget, rounds):
            before = time.monotonic()
            self.one_round(first + self.done)
            self.longest = max(self.longest, time.monotonic() - before)
            self.done += 1
            self.seconds = time.monotonic() - began

    def is_another_round(self, budget, rounds):
        if rounds is not None:
            return self.done < rounds
        return self.done < MINIMUM or self.seconds + CONFIDENT * self.longest <= budget

    def one_round(self, number):
        self.report(number)
        for group in self.random.sample(self.groups, len(self.groups)):
            for measurement in self.random.sample(group, len(group)):
                self.take(measurement, number)

    def take(self, measurement, number):
        try:
            for row, lock, repetition, values in measurement.read(run(measurement.command)):
                self.samples.add(row.name, lock, (number, repetition), values)
        except (Failed, ValueError, KeyError, TypeError, StopIteration) as error:
            found = str(error) if isinstance(error, Failed) else f"cannot read what it printed: {error!r}"
            command = shlex.join(map(str, measurement.command))
            self.failures.append({"row": measurement.rows[0].name, "what": measurement.what, "command": command,
                                  "message": found})
