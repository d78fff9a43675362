"""What a person gets to read: RESULTS.md, and the same for the terminal."""
import itertools
import textwrap

from plan import INCREMENTS, LONG, OPERATIONS, OUTSIDE, P50, P99, PYTHON_OPERATIONS, SHORT, SUBJECT, Row
from ratios import CPU, PYTHON, RATE, ROBUST, against, against_best, estimate, held_ratio

NOTHING = "-"

# The order of locks wherever several are shown.
LOCKS = ("heirlock", "lockable", "glibc-robust", "glibc", "std-recursive", "std-recursive-timed", "boost", "sem", "floor-cas-exchange",
         "floor-reentrant", "floor-syscall", "floor-switch")
TIMES = ((1e9, " s"), (1e6, " ms"), (1e3, " us"), (1, " ns"))
RATES = ((1e6, " M/s"), (1e3, " k/s"), (1, " /s"))


def three_digits(value):
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def with_unit(value, units):
    size, unit = next((pair for pair in units if value >= 0.9995 * pair[0]), units[-1])
    return three_digits(value / size) + unit


def shown(samples, row, lock, metric):
    """The median, in the unit that fits."""
    found = samples.estimate(row, lock, metric)
    if not found:
        return NOTHING
    if metric == RATE:
        return with_unit(found.median, RATES)
    if metric in ("ns", CPU) or metric.endswith("_ns"):
        return with_unit(found.median, TIMES)
    return "0" if found.median == 0 else "<0.01" if found.median < 0.01 else three_digits(found.median)


def ratio_of(found):
    """The median, and half the distance of the quartiles."""
    return f"{found.median:.2f} ±{found.noise / 2:.2f}" if found else NOTHING


def with_ratio(samples, row, lock, metric):
    ratio, text = estimate(against(samples, row, lock, metric)), shown(samples, row, lock, metric)
    if not ratio or lock == SUBJECT:
        return text
    return f"{text} ({ratio.median:.2f})" if ratio.noise / 2 < ratio.median / 3 else f"{text} (?)"


RATIO_NOTE = "In parentheses: heirlock / this lock; below 1 heirlock is faster; ? where the spread is a third of the ratio or more."


def locks_of(samples, rows):
    return sorted(set().union(*map(samples.locks, rows)), key=LOCKS.index)


def table(title, note, header, lines):
    cells = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n\n".join(filter(None, (title, note, "\n".join(f"| {' | '.join(line)} |" for line in cells)))) if lines else ""


def target_table(targets):
    lines = [[target.name, f"{target.sense} {target.limit}", ratio_of(target.estimate), target.verdict, target.remark] for target in targets]
    return table("## Targets", "", ["ratio in one run", "target", "reached", "", "remark"], lines)


def operation_table(samples, rows):
    there = [row for row in rows if row.case in OPERATIONS]
    return table("### Operations nobody waits for", "; ".join(f"{row.case}: {OPERATIONS[row.case]}" for row in there) + f".\n{RATIO_NOTE}",
                 ["lock", *(row.case for row in there)],
                 [[lock, *(with_ratio(samples, row, lock, "ns") for row in there)] for lock in locks_of(samples, there)])


def held_table(samples, rows):
    there = [row for row in rows if row.case == "held"]
    return table("### Acquire + release while others are held", "Locks that keep a list of what is held; the others have nothing that could grow.",
                 ["lock", *(f"{row.held:,} held" for row in there), "2,000 / 1"],
                 [[lock, *(shown(samples, row, lock, "ns") for row in there), ratio_of(estimate(held_ratio(samples, lock)))]
                  for lock in locks_of(samples, there)])


def python_table(samples, rows):
    lines = [[row.name, *(shown(samples, row, lock, metric) for lock in reversed(PYTHON)),
              ratio_of(estimate(against(samples, row, PYTHON[1], metric, PYTHON[0])))]
             for row in rows if row.case.startswith("python") for metric in [RATE if row in INCREMENTS else "ns"]]
    return table("### From Python", "; ".join(f"{case}: {what}" for case, what in PYTHON_OPERATIONS.items()) +
                 "; increment: of one number, in a with block.", ["", "multiprocessing.RLock", "heirlock", "heirlock / RLock"], lines)


def latency_table(case, title, note):
    def of(samples, rows):
        there = [row for row in rows if row.case == case]
        places = [{"": "any", "same": "one", "apart": "two"}[row.pinned] for row in there]
        lines = [[lock, *(cell for row in there for cell in (with_ratio(samples, row, lock, P50[case]), shown(samples, row, lock, P99[case])))]
                 for lock in locks_of(samples, there)]
        return table(f"### {title}", f"{note} {RATIO_NOTE}", ["lock", *(f"{name} {place}" for place in places for name in ("p50", "p99"))], lines)
    return of


def load_name(section, outside):
    return {0: "empty", SHORT: "short", LONG: "long"}[section] + ("+work" if outside else "")


def contended_table(kind, title, note, series_of):
    """A line for each number of parties, a column for each load."""
    def of(samples, rows):
        there = [row for row in rows if (row.case, row.kind) == ("contended", kind)]
        loads = sorted({(row.section, row.outside) for row in there}, key=lambda load: (load[1], load[0]))
        lines = [[str(parties), *(ratio_of(estimate(series_of(samples, Row("contended", kind, parties, *load)))) for load in loads)]
                 for parties in sorted({row.parties for row in there})]
        return table(f"### Contended, {kind}: {title}", note, [kind, *(load_name(*load) for load in loads)], lines)
    return of


THROUGHPUT = ("throughput of heirlock / the best of glibc robust and Boost",
              f"Critical section of 0 (empty), {SHORT} ns (short) or {LONG // 1000} us (long); +work: {OUTSIDE // 1000} us of work outside."
              "\nAbove 1: heirlock does more.", against_best)
PROCESSOR_TIME = ("CPU time per operation of heirlock / glibc robust", "Below 1: heirlock costs less.",
                  lambda samples, row: against(samples, row, ROBUST, CPU))

HEADINGS = {RATE: "throughput", CPU: "CPU/op", "syscalls_per_operation": "calls", "fairness": "fairness", "wait_p50_ns": "wait p50",
            "wait_p99_ns": "wait p99", "wait_max_ns": "wait max", "free_p999_ns": "free p999", "free_max_ns": "free max"}


def fairness_table(samples, rows):
    lines = [[f"{row.parties} {load_name(row.section, row.outside)} {lock}", *(shown(samples, row, lock, metric) for metric in HEADINGS)]
             for row in rows if row.case == "fairness" for lock in locks_of(samples, [row])]
    return table("### Contended, processes, for 1 s: fairness, waits, and how long a wanted lock stays free", "", ["", *HEADINGS.values()], lines)


TABLES = (operation_table, held_table, python_table,
          latency_table("ping-pong", "Hand-over from one process to another", "any: wherever the system puts them; one, two: kept on so many processors."),
          latency_table("kill", "From SIGKILL of the owner to the heir running", "Only robust locks have heirs."),
          contended_table("processes", *THROUGHPUT), contended_table("processes", *PROCESSOR_TIME), contended_table("threads", *THROUGHPUT),
          fairness_table)


def warnings(result):
    if result["busy"] > 0.2:
        yield (f"**WARNING: {result['busy']:.1f} processors were busy with other things at the start: the spread is large and contended rows"
               " mean little. Measure again on an idle machine.**")
    if result["failures"]:
        yield f"**WARNING: {len(result['failures'])} measurements failed; they are missing below.**"
    calls = [record["values"]["syscalls_per_operation"] for record in result["samples"] if "syscalls_per_operation" in record["values"]]
    if calls and not any(calls):
        yield "**System calls were not counted: only root may, where the kernel has the tracepoint raw_syscalls:sys_enter.**"


def results_md(result, samples, rows, targets, charts):
    quick = " --quick" if result["mode"] == "quick" else ""
    machine = {**result["machine"], "busy with other things at the start": f"{result['busy']:.1f} processors", **result["versions"]}
    parts = [
        "# Results of the benchmarks",
        f"Measured on {result['began'][:10]} by `ci/bench{quick}`: {result['rounds']} rounds in {result['seconds'] / 60:.1f} minutes,"
        f" seed {result['seed']}. On: {'; '.join(f'{name}: {text}' for name, text in machine.items())}.",
        "Values are medians. A ratio compares runs made next to each other, in each round anew, so that what slows the machine slows both."
        " The median of these ratios is shown and, after ±, half of their interquartile range. A ratio whose spread is a third of it or"
        " more says nothing certain. A dash means not measured, or that the lock cannot do it. All samples, of every row and lock, stand"
        " in build/bench/results.json.",
        "`heirlock` is `ReentrantLock`, `lockable` the same through `Lockable::locked`. `glibc-robust` and `glibc` are glibc's recursive mutex"
        " with and without robustness, `boost` is `interprocess_recursive_mutex`, `sem` a POSIX semaphore, which does not nest,"
        " `std-recursive` `std::recursive_mutex` in one process, `python-rlock` `multiprocessing.RLock`, `heirlock-python` the package for"
        " Python. All others are recursive and in shared memory. Floors: `floor-cas-exchange` is one compare-exchange and one exchange,"
        " `floor-reentrant` adds an owner that is written and read, `floor-syscall` is the cheapest system call, `floor-switch` a hand-over"
        " by bare futex.",
        "Waiting times are of one acquire in 16, the longest of all. [TUNING.md](TUNING.md) says what was tried, and why some targets are missed.",
        *warnings(result),
        target_table(targets),
        "## Charts",
        "\n".join(f"![{chart.title}](charts/{chart.name}.svg)" for chart in charts) or "None: gnuplot or a measurement was missing.",
        "## Tables",
        *(make(samples, rows) for make in TABLES),
        "## How to repeat it",
        "On an idle machine, in 15 minutes or 2 with `--quick`, and the time to build. `ci/bench` installs with apt what it needs.\n\n"
        f"```\nci/bench{quick} --seed {result['seed']}    # prints these tables; the measurements in the same order\n"
        f"ci/bench{quick} --publish    # writes this file and its charts anew\n"
        "ci/bench --from build/bench/results.json --publish    # the same from an earlier run\n"
        "ci/bench --check    # fails when a ratio against the peers is worse than in bounds.json by more than noise\n```",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def for_terminal(markdown):
    """The same, with the columns of each table aligned."""
    for is_table, lines in itertools.groupby(markdown.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            cells = [line.strip("|").split("|") for line in lines]
            widths = [max(map(len, column)) for column in zip(*cells)]
            yield from ("".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells)
        else:
            yield from (textwrap.fill(line, 118) for line in lines)
