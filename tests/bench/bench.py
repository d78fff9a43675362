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
import time

import charts
import plan
import ratios
import report
import rounds

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = [ROOT / "ci/build", "bench", "-DCMAKE_BUILD_TYPE=Release", "-DHEIRLOCK_BUILD_TESTS=OFF", "-DHEIRLOCK_BUILD_STRESS=OFF",
         "-DHEIRLOCK_BUILD_COMMAND=OFF", "-DHEIRLOCK_BUILD_BENCH=ON"]
BUILT = ROOT / "build/bench"
BOUNDS = HERE / "bounds.json"


def read_options(arguments):
    parser = argparse.ArgumentParser(
        prog="ci/bench", description=__doc__, epilog=plan.LEFT_OUT_OF_QUICK +
        " Exit status: 0 if all was measured (and with --check nothing is worse than its bound); otherwise 1; 2 for a bad option, or"
        " if the programs cannot be built; 130 after Ctrl-C.")
    parser.add_argument("--quick", action="store_true", help="2 minutes instead of 15, not counting the building")
    parser.add_argument("--check", action="store_true",
                        help="measure as --quick (or --full) does; fail if a ratio to the peers is worse than in"
                             " tests/bench/bounds.json by more than the noise of both runs, and again in a second measurement;"
                             " the bounds hold for the machine that the file names")
    parser.add_argument("--full", action="store_true", help="with --check: measure everything, for 15 minutes")
    parser.add_argument("--publish", action="store_true", help="write tests/bench/RESULTS.md and its charts")
    parser.add_argument("--set-bounds", action="store_true", help="make the ratios of this run the bounds of --check")
    parser.add_argument("--from", dest="source", type=argparse.FileType(encoding="utf-8"), metavar="FILE",
                        help="measure nothing; read the results from FILE, a results.json")
    parser.add_argument("--seed", type=int, help="choose the order of the measurements (default: random, and printed)")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure exactly N rounds, however long they take")
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR", default=BUILT,
                        help="folder for results.json, RESULTS.md and charts/*.svg (default: build/bench)")
    return parser.parse_args(arguments)


def build():
    """Returns the programs, and how much work a microsecond is, so that all locks get the same. Others were disturbed: the fastest counts."""
    print("ci/bench: building", file=sys.stderr, flush=True)
    if subprocess.run(BUILD, check=False).returncode != 0:
        sys.exit(2)
    os.environ["PYTHONPATH"] = str(BUILT / "python")  # for python_rlock.py
    end = time.monotonic() + 1
    while time.monotonic() < end:  # processors that were idle take a while to run at their speed
        pass
    parties = BUILT / "tests/bench/heirlock-bench-parties"
    speeds = [json.loads(rounds.run([parties, "speed"]))["values"]["steps_per_microsecond"] for _ in range(5)]
    return plan.Programs(BUILT / "tests/bench/heirlock-bench-operations", parties, max(speeds))


def rows_of(groups):
    return list(dict.fromkeys(row for group in groups for measurement in group for row in measurement.rows))


def measure(options):
    """Returns what results.json holds, and the groups of measurements."""
    mode = "quick" if options.quick or (options.check and not options.full) else "full"
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    groups = plan.groups_of(mode, build())
    result = {"mode": mode, "seed": seed, "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
              "busy": rounds.busy_processors(), "machine": rounds.machine(), "versions": rounds.versions(BUILT, ROOT)}
    print(f"ci/bench --seed {seed}: {len(rows_of(groups))} rows, {sum(map(len, groups))} measurements a round,"
          f" about {plan.MINUTES[mode]} minutes", flush=True)
    began = time.monotonic()
    samples, failures = rounds.measure(groups, seed, 60 * plan.MINUTES[mode], options.rounds)
    done = 1 + max((record["round"] for record in samples.records), default=-1)
    return {**result, "rounds": done, "seconds": round(time.monotonic() - began, 1), "failures": failures,
            "rows": [dataclasses.asdict(row) for row in rows_of(groups)], "samples": samples.records}, groups


def write_json(result, file):
    """A line for each sample."""
    head = json.dumps({**result, "samples": []}, indent=2).removesuffix("]\n}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + "\n" + ",\n".join(f"    {json.dumps(one)}" for one in result["samples"]) + "\n  ]\n}\n", encoding="utf-8")


def check(result, guarded, rows, groups):
    """Whatever seems to be worse is measured again, and must be so again: one odd minute is no regression."""
    bounds = json.loads(BOUNDS.read_text(encoding="utf-8"))

    def judge(found):
        """Each ratio that has a bound, with what to say if it is worse."""
        return [(ratio, ratios.complaint(ratio, bounds["bounds"][ratio.name])) for ratio in found if ratio.name in bounds["bounds"]]

    judged = judge(guarded)
    worse = [(ratio, text) for ratio, text in judged if text]
    if worse and groups:
        print("ci/bench: measuring again what seems to be worse:", *(text for _, text in worse), sep="\n  ", flush=True)
        names, suspects = {ratio.name for ratio, _ in worse}, {ratio.row for ratio, _ in worse}
        again, failures = rounds.measure([group for group in groups if suspects.intersection(rows_of([group]))], result["seed"], 0,
                                         2 * result["rounds"])
        second = judge(ratio for ratio in ratios.guarded(again, rows) if ratio.name in names)
        if failures or len(second) < len(names):
            print("FAILED: what seems to be worse could not be measured again")
            return 1
        worse = [(ratio, text) for ratio, text in second if text]
    for _, text in worse:
        print(f"WORSE: {text}")
    print(f"{'FAILED' if worse or not judged else 'PASSED'}: {len(worse)} of {len(judged)} ratios are worse than their bounds, which were set on"
          f" {bounds['set']} on {bounds['on']}; {len(bounds['bounds']) - len(judged)} bounds are of rows that were not measured")
    return 1 if worse or not judged else 0


def write_results(folder, result, samples, rows):
    """Returns the text of RESULTS.md."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = charts.all_charts(samples, rows)
    problem = charts.draw(drawn, folder / "charts")
    if problem:
        print(f"ci/bench: {problem}", file=sys.stderr)
    text = report.results_md(result, samples, rows, ratios.targets(samples, rows), [] if problem else drawn)
    (folder / "RESULTS.md").write_text(text, encoding="utf-8")
    return text


def main(arguments=None):
    options = read_options(arguments)
    groups = None
    if options.source:
        result = json.load(options.source)
    else:
        result, groups = measure(options)
        write_json(result, options.output / "results.json")
    samples = ratios.Samples(result["samples"])
    rows = [plan.Row(**row) for row in result["rows"] if row["pinned"] != "pinned"]  # which older results have
    guarded = ratios.guarded(samples, rows)
    for folder in (HERE, options.output) if options.publish else (options.output,):
        text = write_results(folder, result, samples, rows)
    print(*report.for_terminal(text), f"ci/bench: see RESULTS.md, results.json and charts in {options.output}", sep="\n")
    for failure in result["failures"]:
        print(f"FAILED: {failure['row']}, {failure['what']}: {failure['message']}\n  again with: {failure['command']}")
    if options.set_bounds:
        on = f"{result['machine']['processor']}, {result['machine']['processors']} processors, kernel {result['versions']['kernel']}"
        ratios.write_bounds(BOUNDS, guarded, on)
    status = check(result, guarded, rows, groups) if options.check else 0
    return 1 if result["failures"] else status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nci/bench: interrupted; no results are written", file=sys.stderr)
        sys.exit(130)
