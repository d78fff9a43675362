#!/usr/bin/env python3
"""Runs heirlock-stress in many configurations, which must pass, and on glibc's locks, which must fail."""
import argparse
import ctypes
import datetime
import json
import os
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = [ROOT / "ci/build", "stress", "-DCMAKE_BUILD_TYPE=Release", "-DHEIRLOCK_BUILD_TESTS=OFF"]
PROGRAM = ROOT / "build/stress/tests/stress/heirlock-stress"

# Name and options. Every one must pass.
CONFIGURATIONS = {
    "the demo, killed faster": "--processes 8 --threads 2 --kills-per-second 100",
    "two processes": "--processes 2 --threads 1 --kills-per-second 100",
    "many kills": "--processes 16 --threads 1 --kills-per-second 300",
    "many processes": "--processes 64 --threads 1 --kills-per-second 200",
    "many threads": "--processes 4 --threads 16 --kills-per-second 100",
    "long audits": "--processes 8 --threads 2 --kills-per-second 150 --accounts 2000",
    "three locks": "--processes 8 --threads 2 --kills-per-second 200 --locks 3",
    "sixteen locks": "--processes 8 --threads 4 --kills-per-second 150 --locks 16",
    "every fault": "--processes 8 --threads 2 --kills-per-second 100 --faults all --faults-per-second 30",
    "every fault, five locks": "--processes 8 --threads 4 --kills-per-second 100 --faults all --faults-per-second 30 --locks 5",
    "owners that end, fork and call exec": "--processes 8 --threads 2 --kills-per-second 50"
                                           " --faults kill,exit,fork,exec,exec-thread --faults-per-second 100",
    "waits that are disturbed": "--processes 8 --threads 2 --kills-per-second 100"
                                " --faults kill,stop,timeout,signal --faults-per-second 100",
}
# The same load on other locks. They must fail, which shows that the tool would see heirlock fail. The failure must show in
# one of these counts: a crashed worker proves nothing.
STRANDS = ("stranded_waiters", "locks_never_free_again")
CONTROLS = {
    "pthread": ("the demo, killed faster", STRANDS),
    "sem": ("the demo, killed faster", STRANDS),
    "pthread-robust": ("every fault", (*STRANDS, "wrong_owners_seen")),
}
SECONDS_OF_CONTROL = 30  # at most: each ends when it has failed
USUAL_SECONDS_OF_CONTROL = 7
PATIENCE = 180  # seconds that a run may take longer than it was asked to
SEED_STEP = 10
WIDTH = 118
OPTIONS = "a number of minutes, --seed N, --junit FILE, --json FILE, --help"

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Children:
    """Starts one program at a time, and ends it when this one is to end, however that is: no child outlives it."""

    def __init__(self):
        self.signal = None  # the first that asked for the end
        self._child = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)

    def run(self, command, limit=None, **options):
        """Returns what it printed and its exit status, None when it took longer than the limit."""
        parent = os.getpid()

        def die_with_parent():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        # In a session of its own: a Ctrl-C would come twice, from the terminal and from here.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                              preexec_fn=die_with_parent, **options) as child:
            self._child = child
            if self.signal:  # it came just before
                child.send_signal(signal.SIGINT)
            status = None
            try:
                output = child.communicate(timeout=limit)[0]
                status = child.returncode
            except subprocess.TimeoutExpired:
                child.kill()
                output = child.communicate()[0]
            self._child = None
        return output.decode(errors="replace"), status

    def _pass_on(self, number, _):
        is_first = self.signal is None
        self.signal = self.signal or number
        if self._child:
            self._child.send_signal(signal.SIGINT if is_first else signal.SIGKILL)


class Run:
    """One run of heirlock-stress."""

    def __init__(self, name, arguments, seconds, seed, signs=()):
        self.name, self.seed, self.signs = name, seed, signs
        self.arguments = [*arguments.split(), "--seconds", f"{seconds:g}", "--seed", str(seed)]
        self.command = shlex.join(["heirlock-stress", *self.arguments])
        self.limit = seconds + PATIENCE
        self.state = "not run"  # and then "interrupted" until it is "done"
        self.result, self.output, self.error, self.took = {}, "", None, 0

    @property
    def is_control(self):
        return bool(self.signs)

    def execute(self, program, children):
        began = time.monotonic()
        with os.fdopen(os.memfd_create("result"), encoding="utf-8") as file:  # leaves nothing behind, even if killed
            self.output, status = children.run(
                [program, *self.arguments, "--json", f"/proc/self/fd/{file.fileno()}"], self.limit,
                pass_fds=[file.fileno()])
            self.took = time.monotonic() - began
            self.read(status, file)
        was_cut_short = children.signal or self.result.get("interrupted")
        if not was_cut_short or (not self.is_control and self.result.get("passed") is False):
            self.state = "done"

    def read(self, status, file):
        if status is None:
            self.error = f"still running after {self.limit:g} s"
        elif status not in (0, 1):
            self.error = f"exit status {status}, which is neither 0 nor 1"
        else:
            try:
                self.result = json.load(file)
            except json.JSONDecodeError as mistake:
                self.error = f"the result is not JSON ({mistake})"
        if self.is_control and self.result.get("passed") is False:
            self.check_control()

    def check_control(self):
        if self.result["failed_workers"] > 0:
            self.error = f"failed, but {self.result['failed_workers']} of its workers failed, too"
        elif not any(self.result[sign] > 0 for sign in self.signs):
            self.error = f"failed, but {' and '.join(self.signs)} are 0"

    @property
    def is_as_expected(self):
        return self.state == "done" and self.error is None and self.result["passed"] != self.is_control

    @property
    def kills(self):
        return self.result.get("kills", 0)

    @property
    def seen(self):
        """What went wrong, a sentence each."""
        if self.state != "done":
            return [self.state]
        seen = self.result.get("seen", [])
        return [self.error, *seen] if self.error else seen or ["it passed: nothing lost, nobody stranded"]

    def lines(self):
        word = "passed" if self.is_as_expected else "ERROR " if self.error else "FAILED"
        text = f"{word}  {self.name:<45} {self.took:7.1f}"
        if self.result:
            faults = sum(self.result["faults"].values()) - self.kills
            text += f" {self.kills:9,} {faults:13,} {self.result['inherited']:10,}"
            text += f" {self.result['longest_wait_seconds']:10.3f} s"
        if self.is_control or not self.is_as_expected:
            text += "".join("\n" + indented(sentence) for sentence in self.seen)
        if not self.is_as_expected:
            text += "\n" + indented(f"again with: {self.command}", " \\")
        return text

    def as_json(self):
        return {"name": self.name, "command": self.command, "must_fail": self.is_control, "seed": self.seed,
                "state": self.state, "seconds": round(self.took, 3), "passed": self.is_as_expected,
                "seen": "; ".join(self.seen), "result": self.result}

    def as_junit(self, suite):
        classname = "heirlock-stress" + (".controls" if self.is_control else "")
        case = xml.SubElement(suite, "testcase", classname=classname, name=self.name, time=f"{self.took:.3f}")
        if self.state == "not run":
            xml.SubElement(case, "skipped", message=self.state)
            return
        if not self.is_as_expected:  # an error, where it is not the lock of which something is found out
            kind = "error" if self.error or self.state != "done" else "failure"
            xml.SubElement(case, kind, message="; ".join(self.seen)).text = f"again with: {self.command}\n\n{self.output}"
        xml.SubElement(case, "system-out").text = f"{self.command}\n{self.output}"


class Record:
    """The files of --json and --junit: there from the start, with all runs, those to come among them."""

    def __init__(self, options, seed, runs):
        self.options, self.seed, self.runs = options, seed, runs
        self.began = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def write(self):
        if self.options.json:
            replace(self.options.json, json.dumps(self.as_json(), indent=2).encode() + b"\n")
        if self.options.junit:
            replace(self.options.junit, xml.tostring(self.as_junit(), encoding="utf-8", xml_declaration=True))

    def as_json(self):
        is_complete = all(run.state == "done" for run in self.runs)
        return {"seed": self.seed, "began": self.began, "complete": is_complete, "runs_planned": len(self.runs),
                "runs_done": sum(run.state == "done" for run in self.runs),
                "passed": all(run.is_as_expected for run in self.runs), "kills_survived": survived(self.runs),
                "runs": [run.as_json() for run in self.runs]}

    def as_junit(self):
        suite = xml.Element("testsuite")
        properties = xml.SubElement(suite, "properties")
        for key, value in (("seed", self.seed), ("kills_survived", survived(self.runs))):
            xml.SubElement(properties, "property", name=key, value=str(value))
        for run in self.runs:
            run.as_junit(suite)
        root = xml.Element("testsuites")
        root.append(suite)
        for element in (root, suite):
            element.set("name", "heirlock-stress")
            element.set("timestamp", self.began)
            element.set("tests", str(len(self.runs)))
            for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
                element.set(count, str(len(suite.findall(f"testcase/{kind}"))))
            element.set("time", f"{sum(run.took for run in self.runs):.3f}")
        return root


def replace(name, content):
    """All at once, so that nobody reads half of it, or takes an old file for the result."""
    name = os.path.realpath(name)
    if os.path.exists(name) and not os.path.isfile(name):  # a pipe, say
        with open(name, "wb") as file:
            file.write(content)
        return
    beside = f"{name}.new"
    with open(beside, "wb") as file:
        file.write(content)
    os.replace(beside, name)


def indented(text, end_of_line=""):
    lines = textwrap.wrap(text, WIDTH - 12 - len(end_of_line), break_long_words=False, break_on_hyphens=False)
    return "        " + f"{end_of_line}\n          ".join(lines)


def planned_runs(minutes, seed):
    """All get the same time, but the controls, which end when they have failed."""
    left = 60 * minutes - USUAL_SECONDS_OF_CONTROL * len(CONTROLS)
    share = max(1.0, round(left / len(CONFIGURATIONS), 1))
    for name, arguments in CONFIGURATIONS.items():
        yield Run(name, arguments, share, seed)
        seed += SEED_STEP
    for lock, (load, signs) in CONTROLS.items():
        yield Run(f"must strand: {lock}, {load}", f"{CONFIGURATIONS[load]} --lock {lock}", SECONDS_OF_CONTROL, seed, signs)
        seed += SEED_STEP


def survived(runs):
    return sum(run.kills for run in runs if not run.is_control and run.is_as_expected)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        message = message.removeprefix("argument ").replace("expected one argument", "the value is missing; give one")
        sys.exit(refuse(message))


def refuse(message):
    print(f"ci/stress: {message}", file=sys.stderr)
    return 2


def number(kind, is_allowed, expected):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_allowed(value):
            raise argparse.ArgumentTypeError(f"'{text}' is not {expected}")
        return value
    return read


def read_options():
    parser = Parser(
        prog="ci/stress", description=__doc__, allow_abbrev=False,
        epilog="Exit status: 0 if every configuration passed and every other lock failed as it must; otherwise 1; 2 for a bad"
               " option, or if heirlock-stress cannot be built; 130 after Ctrl-C and 143 after SIGTERM, which end the present"
               " run and leave the files with the runs done so far, marked as incomplete.")
    parser.add_argument("minutes", nargs="?", default=5,
                        type=number(float, lambda value: 0 < value <= 10000, "a number of minutes above 0, to 10000"),
                        help="total time (%(default)s); each configuration takes at least a second")
    parser.add_argument("--seed", metavar="N",
                        type=number(int, lambda value: 0 <= value < 2**63, "a whole number from 0 to 2^63 - 1"),
                        help=f"seed of the first configuration; the next ones' are {SEED_STEP} more each (default: random, and printed)")
    parser.add_argument("--json", metavar="FILE", help="write the result to FILE as JSON after each run")
    parser.add_argument("--junit", metavar="FILE", help="write the result to FILE as JUnit XML after each run")
    parser.add_argument("--program", help=argparse.SUPPRESS)  # instead of building heirlock-stress
    options, unknown = parser.parse_known_args()
    if unknown:
        parser.error(f"there is no option '{unknown[0]}'; give {OPTIONS}")
    return options


def execute(runs, options, record, children):
    if not options.program:
        runs[0].state = "interrupted"  # so that no build that fails leaves only skipped runs, which are no error
        record.write()
        output, status = children.run(BUILD)
        if status != 0:
            return 128 + children.signal if children.signal else refuse(f"cannot build heirlock-stress:\n{output}")
    print(f"        {'':<45} seconds     kills  other faults  inherited longest wait", flush=True)
    for run in runs:
        run.state = "interrupted"
        record.write()
        run.execute(options.program or PROGRAM, children)
        record.write()
        if run.state == "done":
            print(run.lines(), flush=True)
        if children.signal or run.state != "done":
            print(f"interrupted: {sum(run.state == 'done' for run in runs)} of {len(runs)} runs done", flush=True)
            return 128 + (children.signal or signal.SIGINT)
    failed = sum(not run.is_as_expected for run in runs)
    if failed:
        print(f"FAILED: {failed} of {len(runs)} runs; {survived(runs):,} kills survived in the others")
    else:
        print(f"PASSED: {survived(runs):,} kills survived, nothing lost, nobody stranded")
    return 1 if failed else 0


def main():
    options = read_options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    runs = list(planned_runs(options.minutes, seed))
    record = Record(options, seed, runs)
    children = Children()
    try:
        record.write()  # better told now than later
    except OSError as error:
        return refuse(f"cannot write '{error.filename}': {error.strerror}")
    print(f"ci/stress {options.minutes:g} --seed {seed}    (the seeds of the next runs are {SEED_STEP} more each)",
          flush=True)
    return execute(runs, options, record, children)


if __name__ == "__main__":
    sys.exit(main())
