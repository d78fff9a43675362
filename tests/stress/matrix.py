#!/usr/bin/env python3
"""Runs heirlock-stress in many configurations, and says what they came to. See ci/stress for the options."""
import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

# Name and options. Every one must pass.
CONFIGURATIONS = {
    "the demo's load, killed faster": "--processes 8 --threads 2 --kills-per-second 100",
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
# The same load on other locks. That the tool sees these fail shows that it would see heirlock fail.
CONTROLS = {
    "pthread": "the demo's load, killed faster",
    "sem": "the demo's load, killed faster",
    "pthread-robust": "every fault",
}
SECONDS_OF_CONTROL = 30  # at most: each ends when it has failed
USUAL_SECONDS_OF_CONTROL = 7
PATIENCE = 180  # seconds that a run may take longer than it was asked to


class Run:
    """One run of heirlock-stress."""

    def __init__(self, name, arguments, seconds, seed, is_control):
        self.name, self.seed, self.is_control = name, seed, is_control
        self.arguments = [*arguments.split(), "--seconds", f"{seconds:g}", "--seed", str(seed)]
        self.command = " ".join(["heirlock-stress", *self.arguments])
        self.limit = seconds + PATIENCE
        self.result, self.output, self.error, self.took = {}, "", None, 0

    def execute(self, program):
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            try:
                done = subprocess.run([program, *self.arguments, "--json", file.name], text=True, timeout=self.limit,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.output = done.stdout
                if done.returncode not in (0, 1):
                    self.error = f"found the exit status {done.returncode}, expected 0 or 1"
                else:
                    self.result = json.load(file)
            except subprocess.TimeoutExpired as expired:
                self.output = (expired.stdout or b"").decode(errors="replace")
                self.error = f"found it still running after {self.limit:g} s, expected it to end by itself"
            except json.JSONDecodeError as mistake:
                self.error = f"found a result that is no JSON ({mistake}), expected that of --json"
        self.took = time.monotonic() - began

    @property
    def was_interrupted(self):
        return bool(self.result.get("interrupted"))

    @property
    def is_as_expected(self):
        return self.error is None and self.result["passed"] != self.is_control

    @property
    def kills(self):
        return self.result.get("kills", 0)

    @property
    def seen(self):
        """What went wrong, in a line."""
        if self.error:
            return self.error
        return "; ".join(self.result["seen"]) or "it passed: nothing lost, nobody stranded"

    def line(self):
        word = "passed" if self.is_as_expected else "FAILED"
        if self.is_control:
            told = f"must fail, and did: {self.seen}" if self.is_as_expected else f"was to fail: {self.seen}"
        elif self.is_as_expected:
            faults = sum(self.result["faults"].values()) - self.kills
            told = f"{self.kills:,} kills, {faults:,} other faults, {self.result['inherited']:,} inherited"
            told += f", longest wait {self.result['longest_wait_seconds']:.3f} s"
        else:
            told = self.seen
        return f"{word}  {self.name:<39} {self.took:6.1f} s  seed {self.seed:<11} {told}"

    def as_json(self):
        return {"name": self.name, "command": self.command, "must_fail": self.is_control, "seed": self.seed,
                "seconds": round(self.took, 3), "passed": self.is_as_expected, "seen": self.seen, "result": self.result}

    def as_junit(self, suite):
        case = xml.SubElement(suite, "testcase", classname="heirlock-stress", name=self.name, time=f"{self.took:.3f}")
        if not self.is_as_expected:
            xml.SubElement(case, "failure", message=self.seen).text = f"again with: {self.command}\n\n{self.output}"
        xml.SubElement(case, "system-out").text = f"{self.command}\n{self.line()}\n{self.output}"


def planned_runs(minutes, seed):
    """All get the same time, but the controls, which end when they have failed."""
    left = 60 * minutes - USUAL_SECONDS_OF_CONTROL * len(CONTROLS)
    share = max(1.0, round(left / len(CONFIGURATIONS), 1))
    for name, arguments in CONFIGURATIONS.items():
        yield Run(name, arguments, share, seed, False)
        seed += 10
    for lock, load in CONTROLS.items():
        yield Run(f"{lock}: {load}", f"{CONFIGURATIONS[load]} --lock {lock}", SECONDS_OF_CONTROL, seed, True)
        seed += 10


def write_json(name, seed, runs):
    with open(name, "w", encoding="utf-8") as file:
        json.dump({"seed": seed, "passed": all(run.is_as_expected for run in runs),
                   "kills_survived": survived(runs), "runs": [run.as_json() for run in runs]}, file, indent=2)
        file.write("\n")


def write_junit(name, seed, runs):
    suite = xml.Element("testsuite", name="heirlock-stress", tests=str(len(runs)), errors="0",
                        failures=str(sum(not run.is_as_expected for run in runs)),
                        time=f"{sum(run.took for run in runs):.3f}")
    properties = xml.SubElement(suite, "properties")
    for key, value in (("seed", seed), ("kills_survived", survived(runs))):
        xml.SubElement(properties, "property", name=key, value=str(value))
    for run in runs:
        run.as_junit(suite)
    root = xml.Element("testsuites")
    root.append(suite)
    xml.ElementTree(root).write(name, encoding="utf-8", xml_declaration=True)


def survived(runs):
    return sum(run.kills for run in runs if not run.is_control and run.is_as_expected)


def read_options():
    parser = argparse.ArgumentParser(prog="ci/stress", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=5, help="how long, all in all (%(default)s)")
    parser.add_argument("--seed", type=int, help="chooses the faults; of each configuration another one follows from it")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--junit", metavar="FILE")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 0 < options.minutes <= 10000:
        parser.error(f"minutes: found {options.minutes:g}, expected a number above 0, to 10000")
    if options.seed is not None and not 0 <= options.seed < 2**63:
        parser.error(f"--seed: found {options.seed}, expected a whole number from 0 to 2^63 - 1")
    for name in (options.json, options.junit):
        if name:
            try:
                open(name, "a", encoding="utf-8").close()  # better told now than later
            except OSError as error:
                parser.error(f"cannot write '{name}': {error.strerror}")
    return options


def main():
    options = read_options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"ci/stress {options.minutes:g} --seed {seed}", flush=True)
    runs = []
    for run in planned_runs(options.minutes, seed):
        run.execute(options.program)
        if run.was_interrupted:
            print("interrupted", flush=True)
            return 130
        runs.append(run)
        print(run.line(), flush=True)
        if not run.is_as_expected:
            print(f"        again with: {run.command}", flush=True)
        if options.json:
            write_json(options.json, seed, runs)
        if options.junit:
            write_junit(options.junit, seed, runs)
    failed = sum(not run.is_as_expected for run in runs)
    if failed:
        print(f"FAILED: {failed} of {len(runs)} runs; {survived(runs):,} kills survived in the others")
    else:
        print(f"PASSED: {survived(runs):,} kills survived, nothing lost, nobody stranded")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
