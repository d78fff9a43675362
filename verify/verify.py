#!/usr/bin/env python3
"""Builds and runs the model checks, and says what they came to. See ci/verify for the options."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "verify"
HOLDS, BREAKS = ROOT / "verify" / "holds", ROOT / "verify" / "breaks"


class Check:
    """A scenario, a mutant of the algorithm, or a control: a scenario that must fail."""

    def __init__(self, source):
        self.name = source.stem
        self.kind = "scenario" if source.parent == HOLDS else "mutant" if source.suffix == ".mutant" else "control"
        self.program = BUILD / "verify" / source.parent.name / self.name
        text = source.read_text()
        self.expected = "holds" if self.kind == "scenario" else self.field(text, "Verdict")
        self.caught_by = self.field(text, "Caught by") if self.kind == "mutant" else self.name

    def field(self, text, name):
        found = re.search(rf"^(?://|#) {name}: *(\S.*?) *$", text, re.MULTILINE)
        if not found:
            sys.exit(f"verify: found no line '{name}:' in {self.name}, expected one")
        return found.group(1)

    def rows(self, full=False):
        command = [self.program, "--list"] + (["--full"] if full else [])
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [json.loads(line[4:]) for line in listed.splitlines() if line.startswith("row ")]


class Progress:
    """A line that says how far things are: rewritten on a terminal, one a result elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.lock = total, 0, threading.Lock()
        self.running = {}
        self.finished_executions = 0
        self.start = time.monotonic()
        self.on_terminal = sys.stdout.isatty()

    def executions(self, job, count):
        with self.lock:
            self.running[job] = count
            self.show()

    def finish(self, job, results):
        with self.lock:
            self.done += 1
            self.running.pop(job, None)
            self.finished_executions += sum(result["executions"] for result in results)
            if self.on_terminal:
                self.show()
            else:
                last = results[-1]
                print(f"[{self.done}/{self.total}] {job}: {last['verdict']}, {last['executions']:,} executions, "
                      f"{last['seconds']:.1f} s", flush=True)

    def show(self):
        if self.on_terminal:
            count = self.finished_executions + sum(self.running.values())
            names = ", ".join(self.running)
            line = f"[{self.done}/{self.total}] {count:,} executions, {time.monotonic() - self.start:.0f} s: {names}"
            columns = os.get_terminal_size().columns
            print(f"\r{line[:columns - 1]:{columns - 1}}", end="", flush=True)


class TimeLeft:
    """Shares out the time of a full run, so that the last rows get their part on a slow machine too."""

    def __init__(self, minutes, rows):
        self.end, self.rows = time.monotonic() + 60 * minutes, rows

    def of_next_row(self):
        left = max(self.end - time.monotonic(), 0)
        share = 8 * os.cpu_count() * left / max(self.rows, 1)  # rows differ much: what one leaves, others may use
        self.rows -= 1
        return max(min(share, left), 5)


def run_row(check, row, options, progress, seconds=0):
    """One row of a program. Returns its result, with the story of a failure."""
    command = [check.program, "--row", str(row["row"]), "--seed", str(options.seed)]
    if options.full and check.kind == "scenario":
        command += ["--full", "--seconds", f"{seconds:.0f}"]
    job = f"{check.name} ({row['label']})"
    story, result = [], None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if line.startswith("progress "):
                progress.executions(job, int(line.split()[1]))
            elif line.startswith("result "):
                result = json.loads(line[7:])
            else:
                story.append(line.rstrip("\n"))
    if result is None:
        result = {**row, "threads": 0, "deaths": 0, "search": "", "executions": 0, "exhausted": False, "seconds": 0.0,
                  "verdict": f"ended with status {process.returncode}"}
    if result["verdict"] != "holds" and story:
        story = [line for line in story if not line.startswith("to see it again")]
        replay = result.get("replay", "")
        story.append(f"to see it again: ci/verify {check.name} --row {row['row']} --replay {replay}")
    return {**result, "name": check.name, "kind": check.kind, "story": story}


def run_until_caught(check, options, progress):
    """The rows of a mutant or control, up to the first that does not hold."""
    results = []
    for row in check.rows():
        results.append(run_row(check, row, options, progress))
        if results[-1]["verdict"] != "holds":
            break
    return results


def run_all(checks, options):
    jobs = []
    for check in checks:
        if check.kind == "scenario":
            jobs += [(check, row) for row in check.rows(options.full) if options.row in (None, row["row"])]
        else:
            jobs.append((check, None))
    # The long ones first, as far as one can tell, so that no core idles at the end: exhaustive searches, which know no
    # number; then samples, by number; then mutants.
    order = sorted(jobs, key=lambda job: (job[1] is None, job[1] is not None and job[1]["sampled"] > 0,
                                          -job[1]["sampled"] if job[1] else 0))
    progress = Progress(len(jobs))
    time_left = TimeLeft(options.minutes, sum(row is not None for _, row in jobs))

    def run(job):
        check, row = job
        results = ([run_row(check, row, options, progress, time_left.of_next_row())] if row
                   else run_until_caught(check, options, progress))
        progress.finish(f"{check.name} ({row['label']})" if row else check.name, results)
        return check, results

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        finished = {id(job): pool.submit(run, job) for job in order}
        outcomes = [finished[id(job)].result() for job in jobs]
    if progress.on_terminal:
        print()
    return outcomes


def table(head, lines):
    widths = [max(len(line[i]) for line in [head] + lines) for i in range(len(head))]
    for line in [head] + lines:
        cells = [cell.rjust(width) if re.fullmatch(r"[\d.,]+", cell) else cell.ljust(width)
                 for cell, width in zip(line, widths)]
        print("  ".join(cells).rstrip())
    print()


def report(outcomes, options, seconds):
    """Prints tables and stories. Returns whether all came out as expected."""
    scenarios = [results[0] for check, results in outcomes if check.kind == "scenario"]
    others = [(check, results) for check, results in outcomes if check.kind != "scenario"]
    wrong = [result for result in scenarios if result["verdict"] != "holds"]
    print()
    if scenarios:
        table(["scenario", "threads", "deaths", "search", "executions", "exhausted", "seconds", "verdict"],
              [[f"{r['name']}: {r['label']}", str(r["threads"]), str(r["deaths"]), r["search"], f"{r['executions']:,}",
                "yes" if r["exhausted"] else "sampled" if r["search"] == "random" else "no, cut", f"{r['seconds']:.1f}",
                r["verdict"]] for r in scenarios])
    for kind in ("mutant", "control"):
        lines = []
        for check, results in others:
            if check.kind != kind:
                continue
            last = results[-1]
            as_expected = last["verdict"] == check.expected
            lines.append([check.name, check.caught_by, last["verdict"] + ("" if as_expected else f", expected {check.expected}"),
                          f"{sum(r['executions'] for r in results):,}"])
            if not as_expected:
                wrong.append(last)
        if lines:
            table([kind, "caught by", "verdict", "executions"], lines)
    told = wrong if len(outcomes) > 1 or wrong else [results[-1] for _, results in others]
    for result in told:
        print(f"{result['name']} ({result['label']}): {result['verdict']}")
        print("\n".join(result["story"]))
        print()
    executions = sum(r["executions"] for _, results in outcomes for r in results)
    held = sum(r["verdict"] == "holds" for r in scenarios)
    caught = sum(results[-1]["verdict"] == check.expected for check, results in others if check.kind == "mutant")
    mutants = sum(check.kind == "mutant" for check, _ in others)
    controls = sum(check.kind == "control" for check, _ in others)
    failed = sum(results[-1]["verdict"] == check.expected for check, results in others if check.kind == "control")
    print(f"{held} of {len(scenarios)} scenario rows hold; {caught} of {mutants} mutants are caught as expected; "
          f"{failed} of {controls} controls fail as expected")
    print(f"{executions:,} executions in {seconds:.0f} s, seed {options.seed}")
    print("verify: FAILED" if wrong else "verify: all as expected")
    if options.json:
        document = {"full": options.full, "seed": options.seed, "seconds": seconds, "executions": executions,
                    "as_expected": not wrong,
                    "results": [{**result, "expected": check.expected, "caught_by": check.caught_by}
                                for check, results in outcomes for result in results]}
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    return not wrong


def build(targets):
    """Configures and builds, with ninja's own progress on a terminal."""
    quiet = None if sys.stdout.isatty() else subprocess.PIPE
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DHEIRLOCK_BUILD_TESTS=OFF",
                 "-DHEIRLOCK_BUILD_STRESS=OFF", "-DHEIRLOCK_BUILD_VERIFY=ON"]
    compile_ = ["cmake", "--build", BUILD] + (["--target", *targets] if targets else [])
    for command, output in ((configure, subprocess.PIPE), (compile_, quiet)):
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stdout or ''}\nverify: building failed; the messages stand above")


def main():
    parser = argparse.ArgumentParser(prog="ci/verify", description="Model checks of the lock.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios, mutants or controls; all of them without")
    parser.add_argument("--full", action="store_true", help="as far as about an hour goes")
    parser.add_argument("--minutes", type=float, default=60, help="of a full run, at most (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random searches")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON too")
    parser.add_argument("--row", type=int, help="only this row of a scenario")
    parser.add_argument("--replay", metavar="CHOICES", help="tell this one execution")
    options = parser.parse_args()
    checks = [Check(source) for source in sorted(HOLDS.glob("*.cpp")) + sorted(BREAKS.glob("*.mutant")) +
              sorted(BREAKS.glob("*.cpp"))]
    if options.names:
        known = {check.name for check in checks}
        for name in options.names:
            if name not in known:
                sys.exit(f"verify: found the name '{name}', expected one of verify/holds or verify/breaks")
        checks = [check for check in checks if check.name in options.names]
    if options.replay and (len(checks) != 1 or options.row is None):
        sys.exit("verify: found --replay, expected one NAME and --row with it")
    print(f"building {len(checks)} programs" + (" (a minute or two)" if len(checks) > 3 else ""), flush=True)
    build([check.name for check in checks] if options.names else [])
    if options.replay:
        sys.exit(subprocess.run([checks[0].program, "--row", str(options.row), "--replay", options.replay]).returncode)
    start = time.monotonic()
    outcomes = run_all(checks, options)
    sys.exit(0 if report(outcomes, options, time.monotonic() - start) else 1)


main()
