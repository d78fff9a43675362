#!/usr/bin/env python3
"""Runs heirlock-stress in many configurations, which must pass, and on glibc's locks, which must fail."""
import argparse
import ctypes
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = [ROOT / "ci/build", "stress", "-DCMAKE_BUILD_TYPE=Release", "-DHEIRLOCK_BUILD_TESTS=OFF"]
PROGRAM = ROOT / "build/stress/tests/stress/heirlock-stress"

# Name and options. Each one stresses what no other does: no third thread that would wake a forgotten waiter; a long queue;
# waiters that die together with the owner; owners that are killed in long sections; each kind of death; several locks held
# at a death; waits that end early.
CONFIGURATIONS = {
    "two processes": "--processes 2 --threads 1 --kills-per-second 100",
    "many processes": "--processes 64 --threads 1 --kills-per-second 200",
    "many threads": "--processes 4 --threads 16 --kills-per-second 100",
    "long audits": "--processes 8 --threads 2 --kills-per-second 150 --accounts 2000",
    "every fault": "--processes 8 --threads 2 --kills-per-second 100 --faults all --faults-per-second 30",
    "every fault, sixteen locks": "--processes 8 --threads 4 --kills-per-second 100 --faults all --faults-per-second 30 --locks 16",
    "interrupted waits": "--processes 8 --threads 2 --kills-per-second 100"
                         " --faults kill,stop,timeout,signal --faults-per-second 100",
}
# The same load on other locks, which shows that the tool would see heirlock fail. The failure must show in one of these
# rows of the report: a crashed worker proves nothing.
STRANDS = ("stranded waiters", "locks never free")
CONTROLS = {
    "pthread": ("many processes", STRANDS),
    "sem": ("many processes", STRANDS),
    "pthread-robust": ("every fault", (*STRANDS, "wrong owners")),
}
SECONDS_OF_CONTROL = 30  # at most: a control ends when it has failed
USUAL_SECONDS_OF_CONTROL = 7
PATIENCE = 180  # seconds that a run may take longer than asked
SEED_STEP = 10  # a run uses some seeds above its own
PR_SET_PDEATHSIG = 1


class Interrupted(Exception):
    pass


def interrupt(number, _):
    raise Interrupted(number)


def run(command, limit=None):
    """Returns the exit status, or None after the time limit, and the output. The command does not outlive this program."""
    libc = ctypes.CDLL(None)
    try:
        done = subprocess.run(command, timeout=limit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as end:
        return None, (end.stdout or b"").decode(errors="replace")


def row(report, name):
    """The number or duration in that row of a report, "-" if there is no such row."""
    found = re.search(rf"^  {name} +([\d.,]+( [mun]?s\b)?)", report, re.MULTILINE)
    return found[1] if found else "-"


def count(report, name):
    return int(row(report, name).replace(",", "").replace("-", "0"))


def problem(status, report, signs):
    """What is wrong with a run, "" if nothing. A run with signs is a control, which must fail with one of them."""
    if status is None:
        return "it did not end in time"
    if status not in (0, 1):
        return f"exit status {status}"
    if "INTERRUPTED" in report or row(report, "kills") == "-" or row(report, "failed workers") == "-":
        return "its report is not that of a whole run"
    if not signs:
        return "it failed" if status else ""
    if status == 0:
        return "it passed, but this lock must fail"
    if count(report, "failed workers"):
        return "it failed, but some of its workers failed, too"
    return "" if any(count(report, sign) for sign in signs) else f"it failed, but {' and '.join(signs)} are 0"


def planned_runs(minutes, seed):
    """Name, options, seconds and signs of each run. All have the same time, but the controls end when they have failed."""
    seconds = (60 * minutes - USUAL_SECONDS_OF_CONTROL * len(CONTROLS)) / len(CONFIGURATIONS)
    runs = [(name, options, max(1, seconds), ()) for name, options in CONFIGURATIONS.items()]
    runs += [(f"must fail: {lock}, {load}", f"{CONFIGURATIONS[load]} --lock {lock}", SECONDS_OF_CONTROL, signs)
             for lock, (load, signs) in CONTROLS.items()]
    for i, (name, options, seconds, signs) in enumerate(runs):
        yield name, f"{options} --seconds {seconds:.1f} --seed {seed + SEED_STEP * i}".split(), seconds + PATIENCE, signs


def execute(program, runs):
    """Runs them all, prints a line for each, and returns how many failed."""
    failed = kills = 0
    print(f"        {'':<45} seconds      kills  inherited  longest wait", flush=True)
    for done, (name, options, limit, signs) in enumerate(runs):
        began = time.monotonic()
        try:
            status, report = run([program, *options], limit)
        except Interrupted:
            print(f"interrupted: {done} of {len(runs)} runs done", flush=True)
            raise
        wrong = problem(status, report, signs)
        print(f"{'FAILED' if wrong else 'passed'}  {name:<45} {time.monotonic() - began:7.1f} {row(report, 'kills'):>10}"
              f" {row(report, 'inherited'):>10}  {row(report, 'longest wait'):>12}", flush=True)
        if wrong:
            failed += 1
            print(f"{wrong}; again with: {shlex.join(['heirlock-stress', *options])}\n{report}", flush=True)
        elif signs:
            print(report.partition("FAILED: ")[2].partition("\n")[2], end="", flush=True)
        else:
            kills += count(report, "kills")
    if failed:
        print(f"FAILED: {failed} of {len(runs)} runs; {kills:,} kills survived in the others")
    else:
        print(f"PASSED: {kills:,} kills survived, nothing lost, nobody stranded")
    return failed


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"ci/stress: {message}\n")


def minutes(text):
    value = float(text)
    if not 0 < value <= 10000:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 10000")
    return value


def main():
    parser = Parser(prog="ci/stress", description=__doc__,
                    epilog="Exit status: 0 if every configuration passed and every other lock failed as it must, otherwise 1;"
                           " 2 after a bad option, or if heirlock-stress cannot be built; 130 after Ctrl-C, 143 after SIGTERM.")
    parser.add_argument("minutes", nargs="?", default=5, type=minutes,
                        help="total time, at most 10000 (%(default)s); each configuration takes at least a second")
    parser.add_argument("--seed", metavar="N", type=int, default=random.SystemRandom().randrange(2**32),
                        help="seed of the first run; that of each next run is 10 more (default: random, and printed)")
    parser.add_argument("--program", help=argparse.SUPPRESS)  # instead of building heirlock-stress
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        print(f"ci/stress {options.minutes:g} --seed {options.seed}", flush=True)
        if not options.program:
            status, output = run(BUILD)
            if status != 0:
                parser.error(f"cannot build heirlock-stress:\n{output}")
        return 1 if execute(options.program or PROGRAM, list(planned_runs(options.minutes, options.seed))) else 0
    except Interrupted as signaled:
        return 128 + signaled.args[0]


if __name__ == "__main__":
    sys.exit(main())
