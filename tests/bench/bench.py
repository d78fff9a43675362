#!/usr/bin/env python3
"""Measures heirlock beside the locks that people use instead, and the floors below all of them, in one run."""
import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import charts
import machine
import plan
import report
import targets
from rounds import Failed, Rounds, run
from samples import Samples
from tables import WIDTH

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = [ROOT / "ci/build", "bench", "-DCMAKE_BUILD_TYPE=Release", "-DHEIRLOCK_BUILD_TESTS=OFF", "-DHEIRLOCK_BUILD_STRESS=OFF",
         "-DHEIRLOCK_BUILD_COMMAND=OFF", "-DHEIRLOCK_BUILD_BENCH=ON"]
BUILT = ROOT / "build/bench"
AGAIN = 1000  # the first round of those that --check adds


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(refuse(message.removeprefix("argument ")))


def refuse(message):
    print(f"ci/bench: {message}", file=sys.stderr)
    return 2


def whole_number(text):
    if not text.isdecimal() or not 0 <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to 2^63 - 1")
    return int(text)


def rounds_number(text):
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of rounds from 1 to 1000")
    return int(text)


def read_options():
    parser = Parser(
        prog="ci/bench", description=__doc__, allow_abbrev=False, epilog=plan.LEFT_OUT_OF_QUICK +
        " Exit status: 0 if all was measured (and with --check nothing is worse than its bound); otherwise 1; 2 for a bad option, or if"
        " the programs cannot be built; 130 after Ctrl-C.")
    parser.add_argument("--quick", action="store_true", help="2 minutes instead of 15, not counting the building")
    parser.add_argument("--check", action="store_true",
                        help="measure as --quick (or --full) does; fail if a ratio to the peers is worse than in"
                             " tests/bench/bounds.json by more than the noise of both runs, and again in a second measurement;"
                             " the bounds hold for the machine that the file names")
    parser.add_argument("--full", action="store_true", help="with --check: measure everything, for 15 minutes")
    parser.add_argument("--publish", action="store_true", help="write tests/bench/RESULTS.md and its charts")
    parser.add_argument("--set-bounds", action="store_true", help="make the ratios of this run the bounds of --check")
    parser.add_argument("--from", dest="source", type=pathlib.Path, metavar="FILE",
                        help="measure nothing; read the results from FILE, a results.json")
    parser.add_argument("--seed", type=whole_number, help="chooses the order of the measurements (default: random, and printed)")
    parser.add_argument("--rounds", type=rounds_number, metavar="N", help="measure exactly N rounds, however long they take")
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR", default=BUILT,
                        help="folder for results.json, RESULTS.md and charts/*.svg (build/bench)")
    parser.add_argument("--programs", type=pathlib.Path, metavar="DIR", help=argparse.SUPPRESS)  # instead of building them
    parser.add_argument("--bounds", type=pathlib.Path, default=HERE / "bounds.json", help=argparse.SUPPRESS)
    options, unknown = parser.parse_known_args()
    if unknown:
        parser.error(f"there is no option '{unknown[0]}'; see --help")
    if options.check and not options.bounds.exists():
        parser.error(f"--check: there is no {options.bounds.name}; make it with ci/bench --quick --set-bounds")
    return options


class Display:
    """A line that says what is measured and how long it will take: over and over on a terminal, else once a round."""

    def __init__(self, stream):
        self.stream, self.round = stream, None

    def __call__(self, number, measurement, left):
        minutes = f"{int(left) // 60}:{int(left) % 60:02d} left"
        if self.stream.isatty():
            text = f"round {number % AGAIN + 1}, {minutes}: {measurement.rows[0].name}, {measurement.what}"
            self.stream.write(f"\r{text[:100]:<100}")
        elif number != self.round:
            self.stream.write(f"round {number % AGAIN + 1}" + (f", {minutes}\n" if number % AGAIN else "\n"))
        self.round = number
        self.stream.flush()

    def end(self):
        if self.stream.isatty():
            self.stream.write("\r" + " " * 100 + "\r")


def build():
    """Returns None, or what went wrong."""
    print("ci/bench: building", file=sys.stderr, flush=True)
    done = subprocess.run(BUILD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return None if done.returncode == 0 else f"cannot build the programs:\n{done.stdout}"


def programs_in(folder):
    """Among them how much work a microsecond is, so that all locks get the same; the fastest of some runs, as others were disturbed."""
    parties, python = folder / "heirlock-bench-parties", folder / "python_rlock.py"
    package = folder.parents[1] / "python"
    if package.exists():
        os.environ["PYTHONPATH"] = str(package)  # for python_rlock.py
    speeds = [json.loads(run([parties, "speed"]))["values"]["steps_per_microsecond"] for _ in range(5)]
    return plan.Programs(folder / "heirlock-bench-operations", parties, python if python.exists() else HERE / "python_rlock.py", max(speeds))


def rows_of(groups):
    return list(dict.fromkeys(row for group in groups for measurement in group for row in measurement.rows))


def measure(options, effort, programs, seed):
    groups, samples, display = plan.groups_of(effort, programs), Samples(), Display(sys.stderr)
    result = {"mode": "quick" if effort.is_quick else "full", "seed": seed,
              "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "busy": machine.busy_processors(),
              "machine": machine.describe_machine(), "versions": machine.describe_versions(BUILT, ROOT)}
    print(f"ci/bench --seed {seed}: {len(rows_of(groups))} rows, {sum(map(len, groups))} measurements a round,"
          f" about {effort.minutes:g} minutes", flush=True)
    rounds = Rounds(groups, samples, seed, display)
    rounds.measure(60 * effort.minutes, options.rounds)
    display.end()
    return {**result, "rounds": rounds.done, "seconds": round(rounds.seconds, 1), "failures": rounds.failures,
            "rows": [dataclasses.asdict(row) for row in rows_of(groups)], "samples": samples.records}


def warm_up(seconds):
    """Processors that were idle take a while to run at their speed. The programs warm up by themselves as well."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def compact(result):
    """JSON with a line for each sample."""
    samples = ",\n".join("    " + json.dumps(record) for record in result["samples"])
    head = json.dumps({**result, "samples": []}, indent=2)
    return head.removesuffix('"samples": []\n}') + f'"samples": [\n{samples}\n  ]\n}}\n'


def check(options, result, samples, rows, programs):
    """Whatever seems to be worse is measured again, and must be so again: one odd minute is no regression."""
    bounds = json.loads(options.bounds.read_text(encoding="utf-8"))
    judged = targets.judge(targets.guarded(samples, rows), bounds)
    if not judged:
        print(f"FAILED: found no ratio that {options.bounds.name} has a bound for, expected some; see ci/bench --set-bounds")
        return 1
    worse = [judgement for judgement in judged if judgement.is_worse]
    if worse and programs:
        print("ci/bench: measuring again what seems to be worse:", *(wrapped(f"  {one}") for one in worse), sep="\n", flush=True)
        suspects = {row for judgement in worse for row in judgement.quotient.rows}
        effort = plan.QUICK if result["mode"] == "quick" else plan.FULL
        groups = [group for group in plan.groups_of(effort, programs) if suspects.intersection(rows_of([group]))]
        again, display = Samples(), Display(sys.stderr)
        rounds = Rounds(groups, again, result["seed"], display)
        rounds.measure(0, 2 * result["rounds"], first=AGAIN)
        display.end()
        names = {judgement.quotient.name for judgement in worse}
        second = targets.judge([one for one in targets.guarded(again, rows) if one.name in names], bounds)
        worse = [judgement for judgement in second if judgement.is_worse]
        if rounds.failures or len(second) < len(names):
            print("FAILED: could not measure again what seemed to be worse")
            return 1
    for judgement in worse:
        print(wrapped(f"WORSE: {judgement}"))
    without = len(bounds["bounds"]) - len(judged)
    remark = f" ({without} bounds are of rows that were not measured)" if without else ""
    if worse:
        print(wrapped(f"FAILED: {len(worse)} of {len(judged)} ratios are worse than their bounds, set on {bounds['on']},"
                      f" {bounds['set']}{remark}"))
        return 1
    print(f"PASSED: {len(judged)} ratios are no worse than their bounds{remark}")
    return 0


def wrapped(text):
    return textwrap.fill(text, WIDTH, subsequent_indent="    ")


def write_results(options, result, samples, rows, reached):
    drawn = charts.all_charts(samples, rows)
    kept = [chart for chart in drawn if chart.name in charts.PUBLISHED]
    folders = {options.output: drawn, **({HERE: kept} if options.publish else {})}
    for folder, drawn in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        problem = charts.draw(drawn, folder / "charts")
        if problem:
            print(f"ci/bench: {problem}", file=sys.stderr)
        text = report.results_md(result, samples, rows, reached, [] if problem else drawn)
        (folder / "RESULTS.md").write_text(text, encoding="utf-8")
    print(f"results: {options.output}/results.json, RESULTS.md, charts/*.svg", *list(folders)[1:] and ["and tests/bench/RESULTS.md"])


def obtain(options):
    """Measures, or reads what was measured. Returns the result, and where the programs are if there are any."""
    if options.source:
        return json.loads(options.source.read_text(encoding="utf-8")), None
    problem = None if options.programs else build()
    if problem:
        sys.exit(refuse(problem))
    warm_up(1.0)
    try:
        programs = programs_in(options.programs or BUILT / "tests/bench")
    except (Failed, ValueError, KeyError) as error:
        sys.exit(refuse(f"heirlock-bench-parties speed: {error}"))
    effort = plan.QUICK if options.quick or (options.check and not options.full) else plan.FULL
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    result = measure(options, effort, programs, seed)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(compact(result), encoding="utf-8")
    return result, programs


def main():
    options = read_options()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        result, programs = obtain(options)
    except (OSError, json.JSONDecodeError) as error:
        return refuse(f"cannot read or write the results: {error}")
    samples = Samples.from_records(result["samples"])
    rows = [plan.Row(**row) for row in result["rows"]]
    reached = targets.targets(samples, rows)
    print("\n" + report.terminal(result, samples, rows, reached) + "\n")
    write_results(options, result, samples, rows, reached)
    for failure in result["failures"]:
        print(f"FAILED: {failure['row']}, {failure['what']}: {failure['message']}\n  again with: {failure['command']}")
    if options.set_bounds:
        on = f"{result['machine']['processor']}, {result['machine']['processors']} processors, kernel {result['versions']['kernel']}"
        targets.write_bounds(options.bounds, targets.bounds_from(targets.guarded(samples, rows), on))
    status = check(options, result, samples, rows, programs) if options.check else 0
    return 1 if result["failures"] else status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is written", file=sys.stderr)
        sys.exit(130)
