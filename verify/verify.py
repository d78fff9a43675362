#!/usr/bin/env python3
"""Builds and runs the model checks and prints their results. See ci/verify for the options."""
import argparse
import collections
import concurrent.futures
import difflib
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
HOLDS, BREAKS, ENGINE = (ROOT / "verify" / folder for folder in ("holds", "breaks", "engine"))
VERDICTS = ("data race", "deadlock", "assertion", "invariant", "livelock", "access to freed memory", "missing outcome")


class Check:
    """A scenario, a mutant of the algorithm or of the search, or a control: a scenario that must fail.

    With a walk it is a mutant that must hold where the kernel has that walk over a dying thread's locks.
    """

    def __init__(self, source, walk=None):
        self.source = source
        self.walk = walk
        self.name = source.stem
        self.kind = "mutant" if source.suffix == ".mutant" else "control" if source.parent == BREAKS else "scenario"
        self.expected, self.caught_by, self.breaks, self.holds_on = "holds", self.name, None, None
        if self.kind != "scenario":
            self.expected = self.field("Verdict")
            if self.expected.split(":")[0] not in VERDICTS:
                self.refuse(f"there is no verdict '{self.expected}'; choose from {', '.join(VERDICTS)}")
        if self.kind == "mutant":
            self.breaks = self.field("Breaks")
            self.caught_by = self.field("Caught by")
            folder = ENGINE if source.parent == ENGINE else HOLDS
            if not (folder / f"{self.caught_by}.cpp").exists():
                self.refuse(f"'Caught by: {self.caught_by}', which is no scenario of verify/{folder.name}")
            self.holds_on = self.field("Holds on", needed=False)
        self.command = [BUILD / "verify" / "checks", self.caught_by]
        if self.kind == "mutant" and source.parent == ENGINE:
            self.command[0] = BUILD / "verify" / self.name
        elif self.kind == "mutant":
            self.command += ["--mutant", self.name]
        if walk:
            self.kind, self.expected = "mutant on a walk", "holds"

    def field(self, name, needed=True):
        found = re.search(rf"^(?://|#) {name}: *(\S.*?) *$", self.source.read_text(), re.MULTILINE)
        if not found and needed:
            self.refuse(f"add a line '{name}: ...'")
        return found.group(1) if found else None

    def refuse(self, what):
        sys.exit(f"{self.source.relative_to(ROOT)}: {what}")

    def came_out(self, result):
        """Whether a result is the expected one, in these words if the file has some: 'assertion: two threads ...'."""
        return self.expected in (result["verdict"], f"{result['verdict']}: {result.get('words', '')}")


def rows_of_checks(full):
    """The rows of each scenario and control, by its name."""
    command = [BUILD / "verify" / "checks", "--list"] + (["--full"] if full else [])
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = collections.defaultdict(list)
    for row in map(json.loads, listed.splitlines()):
        rows[row["check"]].append(row)
    return rows


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
        executions = sum(result["executions"] for result in results)
        with self.lock:
            self.done += 1
            self.running.pop(job, None)
            self.finished_executions += executions
            if self.on_terminal:
                self.show()
            else:
                seconds = sum(result["seconds"] for result in results)
                print(f"[{self.done}/{self.total}] {job}: {results[-1]['verdict']}, {executions:,} executions, "
                      f"{seconds:.1f} s", flush=True)

    def show(self):
        if self.on_terminal:
            count = self.finished_executions + sum(self.running.values())
            names = ", ".join(self.running)
            line = f"[{self.done}/{self.total}] {count:,} executions, {time.monotonic() - self.start:.0f} s: {names}"
            columns = os.get_terminal_size().columns
            print(f"\r{line[:columns - 1]:{columns - 1}}", end="", flush=True)


class TimeLeft:
    """Shares out the time of a full run, so that the last rows get their part on a slow machine too."""

    def __init__(self, minutes, rows, jobs):
        self.end, self.rows, self.jobs = time.monotonic() + 60 * minutes, rows, jobs

    def of_next_row(self):
        left = max(self.end - time.monotonic(), 0)
        share = 8 * self.jobs * left / max(self.rows, 1)  # rows differ much: what one leaves, others may use
        self.rows -= 1
        return max(min(share, left), 5)


def run_row(check, row, options, progress, seconds=0):
    """One row of a program. Returns its result, with the story of a failure."""
    command = check.command + ["--row", str(row["row"]), "--seed", str(options.seed)]
    if check.walk or options.walk:
        command += ["--walk", check.walk or options.walk]
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
    if result is None or process.returncode < 0:
        result = {**row, "threads": 0, "deaths": 0, "search": "", "executions": 0, "exhausted": False, "seconds": 0.0,
                  "verdict": f"ended with status {process.returncode}"}
    words = [line.split("*** ", 1)[1] for line in story if "*** " in line]
    result["words"] = words[0] if words else ""
    if story and check.breaks:
        story.insert(0, f"broken: {check.breaks}")
    return {**result, "name": check.name, "kind": check.kind, "story": story}


def run_rows(check, rows, options, progress, time_left):
    """Of a mutant or control, the rows up to the first that does not hold."""
    results = []
    for row in rows:
        results.append(run_row(check, row, options, progress, time_left.of_next_row() if check.kind == "scenario" else 0))
        if check.kind != "scenario" and results[-1]["verdict"] != "holds":
            break
    return results


def run_all(checks, rows_of, options):
    jobs = []
    for check in checks:
        if not rows_of[check.caught_by]:
            check.refuse(f"{check.caught_by} has no rows; give it a 'const Check'")
        rows = [row for row in rows_of[check.caught_by] if options.row in (None, row["row"])]
        in_one = check.kind != "scenario" or check.source.parent == ENGINE  # the litmus tests are many and short
        jobs += [(check, rows)] if in_one else [(check, [row]) for row in rows]
    # The long ones first, as far as one can tell, so that no core idles at the end: exhaustive searches, which know no
    # number; then samples, by number; then mutants.
    order = sorted(jobs, key=lambda job: (job[0].kind != "scenario", job[1][0]["sampled"] > 0, -job[1][0]["sampled"]))
    progress = Progress(len(jobs))
    time_left = TimeLeft(options.minutes, sum(len(rows) for check, rows in jobs if check.kind == "scenario"), options.jobs)

    def run(job):
        check, rows = job
        results = run_rows(check, rows, options, progress, time_left)
        progress.finish(f"{check.name} ({rows[0]['label']})" if len(rows) == 1 else check.name, results)
        return check, results

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        finished = {id(job): pool.submit(run, job) for job in order}
        try:
            outcomes = [finished[id(job)].result() for job in jobs]
        except KeyboardInterrupt:  # which the programs that run have got too
            pool.shutdown(wait=False, cancel_futures=True)
            sys.exit("\nverify: interrupted; nothing is decided")
    if progress.on_terminal:
        print()
    return outcomes


def report_scenarios(results):
    lines, last = [], None
    litmus = [r for r in results if r["name"] == "litmus" and r["verdict"] == "holds" and r["exhausted"]]
    if len(litmus) > 1:
        lines += [["litmus"] + [""] * 7, [f"  {len(litmus)} rows", "2 to 4", "0", "every execution",
                  f"{sum(r['executions'] for r in litmus):,}", "yes", f"{sum(r['seconds'] for r in litmus):.1f}", "holds"]]
        results, last = [r for r in results if r not in litmus], "litmus"
    for r in results:
        if r["name"] != last:
            lines.append([r["name"]] + [""] * 7)
            last = r["name"]
        exhausted = "yes" if r["exhausted"] else "sampled" if r["search"] == "random" else "no, cut"
        lines.append([f"  {r['label']}", str(r["threads"]), str(r["deaths"]), r["search"], f"{r['executions']:,}", exhausted,
                      f"{r['seconds']:.1f}", r["verdict"]])
    names = {i for i, line in enumerate(lines) if not line[1]}
    head = ["scenario", "threads", "deaths", "search", "executions", "exhausted", "seconds", "verdict"]
    rows = [line for i, line in enumerate(lines) if i not in names] + [head]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for i, line in enumerate([head] + lines):
        if i - 1 in names:
            print(line[0])
        else:
            print("  ".join(cell.rjust(width) if re.fullmatch(r"[\d.,]+", cell) else cell.ljust(width)
                            for cell, width in zip(line, widths)).rstrip())
    print()


def report_broken(kind, checked):
    print({"mutant": "mutant, the scenario that catches it, how, and after how many executions",
           "mutant on a walk": "mutant, the walk on which it must hold, and after how many executions",
           "control": "control, how it fails, and after how many executions"}[kind])
    for check, results in checked:
        last = results[-1]
        verdict = last["verdict"] + (f": {last['words']}" if last["words"] else "")
        by = f"{check.walk or check.caught_by}: " if check.breaks else ""
        print(f"{check.name}\n    {by}{verdict}, {sum(r['executions'] for r in results):,}")
        if not check.came_out(last):
            print(f"    EXPECTED {check.expected}")
    print()


def report(outcomes, options, seconds):
    """Prints tables and stories. Returns whether all came out as expected."""
    scenarios = [result for check, results in outcomes if check.kind == "scenario" for result in results]
    wrong = [result for check, results in outcomes for result in (results if check.kind == "scenario" else results[-1:])
             if not check.came_out(result)]
    print()
    if scenarios:
        report_scenarios(scenarios)
    summary = []
    if scenarios:
        held = sum(result["verdict"] == "holds" for result in scenarios)
        summary.append(f"{held} of {len(scenarios)} scenario rows hold")
    for kind, words in (("mutant", "mutants are caught as expected"), ("control", "controls fail as expected"),
                        ("mutant on a walk", "mutants hold on their walk")):
        checked = [(check, results) for check, results in outcomes if check.kind == kind]
        if checked:
            report_broken(kind, checked)
            summary.append(f"{sum(check.came_out(results[-1]) for check, results in checked)} of {len(checked)} {words}")
    several = len({check.name for check, _ in outcomes}) > 1
    told = wrong if wrong or several else [results[-1] for check, results in outcomes if check.expected != "holds"]
    for result in told:
        print(f"{result['name']} ({result['label']}): {result['verdict']}")
        print("\n".join(result["story"] or ["no execution fails: the scenario does not notice this change"]))
        print()
    executions = sum(r["executions"] for _, results in outcomes for r in results)
    print("; ".join(summary))
    print(f"{executions:,} executions in {seconds:.0f} s, seed {options.seed}")
    print("verify: FAILED" if wrong else "verify: all as expected")
    if options.json:
        document = {"full": options.full, "seed": options.seed, "seconds": seconds, "executions": executions,
                    "as_expected": not wrong,
                    "results": [{**result, "expected": check.expected, "caught_by": check.caught_by, "walk": check.walk}
                                for check, results in outcomes for result in results]}
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    return not wrong


def build(jobs):
    """Configures and builds, with ninja's own progress on a terminal."""
    quiet = None if sys.stdout.isatty() else subprocess.PIPE
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "--preset", "verify"]
    compile_ = ["cmake", "--build", BUILD, "--parallel", str(jobs)]
    for command, output in ((configure, subprocess.PIPE), (compile_, quiet)):
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stdout or ''}\nverify: building failed, see above")


def options_of_command_line():
    parser = argparse.ArgumentParser(prog="ci/verify", description="Model checks of the lock.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios, mutants or controls; default: all")
    parser.add_argument("--full", action="store_true", help="larger bounds for the scenarios")
    parser.add_argument("--minutes", type=float, default=60, help="longest duration of a full run (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random searches")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="programs to run at once (number of processors)")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    parser.add_argument("--walk", metavar="NAME", help="only this kind of kernel: before_2022, since_2022 or since_2026")
    parser.add_argument("--row", type=int, help="only this row of one scenario")
    parser.add_argument("--replay", metavar="CHOICES", help="repeat this execution of that row and print its steps")
    options = parser.parse_args()
    if options.seed < 0 or options.jobs < 1:
        parser.error("--seed must be 0 or more, and --jobs 1 or more")
    if options.json:
        try:
            open(options.json, "a").close()  # not after an hour
        except OSError as error:
            parser.error(f"cannot write {options.json}: {error.strerror}")
    return options


def checks_of(names):
    sources = [source for pattern in ("engine/*.cpp", "holds/*.cpp", "engine/*.mutant", "breaks/*.mutant", "breaks/*.cpp")
               for source in sorted((ROOT / "verify").glob(pattern))]
    wanted = [pathlib.Path(name).stem for name in names]
    known = [source.stem for source in sources]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            sys.exit(f"verify: there is no '{name}' in verify/holds, breaks or engine{hint}")
    return [Check(source) for source in sources if not names or source.stem in wanted]


def main():
    options = options_of_command_line()
    checks = checks_of(options.names)
    if options.walk == "before_2022" and not options.names:
        sys.exit("verify: --walk before_2022 needs the NAMEs of scenarios with the backstop: without it, waiters are stranded there")
    if options.row is not None and len(checks) != 1 or options.replay is not None and options.row is None:
        sys.exit("verify: --row needs one NAME, and --replay needs --row N")
    print("building the model checks (half a minute)", flush=True)
    try:
        build(options.jobs)
    except KeyboardInterrupt:
        sys.exit("\nverify: interrupted while building")
    rows = rows_of_checks(options.full)
    if options.row is not None and options.row not in range(len(rows[checks[0].caught_by])):
        sys.exit(f"verify: there is no --row {options.row}; give 0 to {len(rows[checks[0].caught_by]) - 1}")
    if options.replay is not None:
        command = checks[0].command + ["--row", str(options.row), "--replay", options.replay]
        command += ["--walk", options.walk] if options.walk else []
        sys.exit(subprocess.run(command).returncode)
    start = time.monotonic()
    on_their_walk = [Check(check.source, check.holds_on) for check in checks if check.holds_on]
    outcomes = run_all([check for check in checks if not options.walk or check.holds_on != options.walk] + on_their_walk,
                       rows, options)
    as_expected = report(outcomes, options, time.monotonic() - start)
    for check in checks:
        if options.names and check.kind == "mutant" and check.caught_by not in [other.name for other in checks]:
            print(f"(not run here: {check.caught_by} on the header that ships)")
    sys.exit(0 if as_expected else 1)


main()
