"""The tables, once for the terminal and once for RESULTS.md."""
import dataclasses
import textwrap

import samples as made
from plan import INCREMENTS, LONG, OPERATIONS, OUTSIDE, P50, P99, PYTHON_OPERATIONS, RIVALS, SHORT, SUBJECT, Row
from targets import PYTHON, ROBUST, against, against_best, contended, held_ratio

WIDTH = 110
NOTHING = "-"

# The order of locks wherever several are shown.
LOCKS = ("heirlock", "lockable", "glibc-robust", "glibc", "std-recursive", "std-recursive-timed", "boost", "sem", "floor-cas-exchange",
         "floor-reentrant", "floor-syscall", "floor-switch")


@dataclasses.dataclass
class Table:
    title: str
    note: str
    header: list
    lines: list

    def as_text(self):
        columns = list(zip(self.header, *self.lines))
        widths = [max(len(cell) for cell in column) for column in columns]
        lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
                 for line in (self.header, *self.lines)]
        lines.insert(1, "-" * len(lines[0]))
        note = [textwrap.fill(line, WIDTH) for line in self.note.splitlines()]
        return "\n".join([self.title, *note, "", *lines])

    def as_markdown(self):
        lines = [self.header, ["---"] + ["---:"] * (len(self.header) - 1), *self.lines]
        note = f"{self.note}\n\n" if self.note else ""
        return f"### {self.title}\n\n{note}" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def time_of(nanoseconds):
    if nanoseconds is None:
        return NOTHING
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= 0.9995 * size:
            return f"{three_digits(nanoseconds / size)} {unit}"
    return f"{three_digits(nanoseconds)} ns"


def rate_of(per_second):
    if per_second is None:
        return NOTHING
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if per_second >= 0.9995 * size:
            return f"{three_digits(per_second / size)} {unit}/s"
    return f"{three_digits(per_second)} /s"


def three_digits(value):
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def ratio_of(estimate):
    """The median, and half the distance of the quartiles."""
    return NOTHING if estimate is None else f"{estimate.median:.2f} ±{estimate.noise / 2:.2f}"


def plain(value):
    return NOTHING if value is None else "0" if value == 0 else "<0.01" if value < 0.01 else three_digits(value)


def in_brief(value, scale):
    """Two digits, so that three values fit into a cell of a matrix."""
    if value is None:
        return NOTHING
    size, unit = next(((size, unit) for size, unit in scale if value >= 0.995 * size), scale[-1])
    value /= size
    digits = f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
    return digits + unit


RATE = ((1e6, "M"), (1e3, "k"), (1, ""))
PLAIN = ((1, ""),)
TIME = ((1e9, "s"), (1e6, "m"), (1e3, "u"), (1, "n"))
BRIEF = {"operations_per_second": RATE, "cpu_ns_per_operation": TIME, "syscalls_per_operation": PLAIN, "fairness": PLAIN,
         "wait_p50_ns": TIME, "wait_p99_ns": TIME, "wait_max_ns": TIME, "free_p50_ns": TIME, "free_p99_ns": TIME, "free_p999_ns": TIME,
         "free_max_ns": TIME}


SHOWN = {"operations_per_second": rate_of, "cpu_ns_per_operation": time_of, "syscalls_per_operation": plain, "fairness": plain,
         "wait_p50_ns": time_of, "wait_p99_ns": time_of, "wait_max_ns": time_of, "free_p999_ns": time_of, "free_max_ns": time_of}
HEADINGS = {"operations_per_second": "throughput", "cpu_ns_per_operation": "CPU/op", "syscalls_per_operation": "calls",
            "fairness": "fairness", "wait_p50_ns": "wait p50", "wait_p99_ns": "wait p99", "wait_max_ns": "wait max",
            "free_p999_ns": "free p999", "free_max_ns": "free max"}


def median(samples, row, lock, metric):
    estimate = samples.estimate(row.name, lock, metric)
    return estimate and estimate.median


def locks_of(samples, rows):
    return in_order({lock for row in rows for lock in samples.locks(row.name)})


def in_order(locks):
    return [lock for lock in LOCKS if lock in locks] + sorted(locks.difference(LOCKS))


def target_table(targets):
    lines = [[target.name, f"{target.sense} {target.limit}", ratio_of(target.reached), target.verdict] for target in targets]
    return Table("Targets", "", ["ratio in one run", "target", "reached", ""], lines)


def remarks(targets):
    return [f"{target.name}: {target.remark}." for target in targets if target.remark]


def operation_tables(samples, rows):
    for pinned in ("", "pinned"):
        there = [Row(case, pinned=pinned) for case in OPERATIONS if Row(case, pinned=pinned) in rows]
        locks = locks_of(samples, there)
        if not locks:
            continue
        where = " on one processor" if pinned else ""
        header = ["lock", *(row.case for row in there)]
        yield Table(f"Operations nobody waits for{where}: time", "; ".join(f"{row.case}: {OPERATIONS[row.case]}" for row in there) + ".", header,
                    [[lock, *(time_of(median(samples, row, lock, "ns")) for row in there)] for lock in locks])
        yield Table(f"Operations nobody waits for{where}: heirlock / the other",
                    "Median of ratios of neighbouring runs ± half the interquartile range; below 1: heirlock is faster.", header,
                    [[lock, *(ratio_of(made.estimate(against(samples, row, SUBJECT, lock).values())) for row in there)]
                     for lock in locks if lock != SUBJECT])


def held_tables(samples, rows):
    for pinned in ("", "pinned"):
        there = [row for row in rows if row.case == "held" and row.pinned == pinned]
        locks = locks_of(samples, there)
        if locks:
            few, many = there[0].held, there[-1].held
            yield Table(f"Acquire + release while others are held{' on one processor' if pinned else ''}",
                        "Locks that keep a list of what is held; the others have nothing that could grow.",
                        ["lock", *(f"{row.held:,} held" for row in there), f"{many:,} / {few:,}"],
                        [[lock, *(time_of(median(samples, row, lock, "ns")) for row in there),
                          ratio_of(made.estimate(held_ratio(samples, lock, many, few, pinned).values()))] for lock in locks])


def python_table(samples, rows):
    def line(row, metric, show):
        return [row.name, *(show(median(samples, row, lock, metric)) for lock in reversed(PYTHON)),
                ratio_of(made.estimate(against(samples, row, *PYTHON, metric).values()))]

    lines = [line(row, "ns", time_of) for row in rows if row.case in PYTHON_OPERATIONS]
    lines += [line(row, "operations_per_second", rate_of) for row in rows if row in INCREMENTS]
    if lines:
        yield Table("From Python", "; ".join(f"{case}: {what}" for case, what in PYTHON_OPERATIONS.items()) + "; increment: of one number, in a with"
                    " block.", ["", "multiprocessing.RLock", "heirlock", "heirlock / RLock"], lines)


def load_name(section, outside):
    return {0: "empty", SHORT: "short", LONG: "long"}.get(section, f"{section} ns") + ("+work" if outside else "")


LOADS_NOTE = f"Critical section of 0 (empty), {SHORT} ns (short) or {LONG // 1000} us (long); +work: {OUTSIDE // 1000} us of work outside."


def matrices(samples, rows):
    """Of all contended rows: a line for each number of parties, a column for each load."""
    for kind in ("processes", "threads"):
        there = [row for row in contended(rows, kind) if not row.pinned]
        if not there:
            continue
        loads = sorted({(row.section, row.outside) for row in there}, key=lambda load: (load[1], load[0]))

        def matrix(title, note, cell, there=there, loads=loads, kind=kind):
            by_place = {(row.parties, row.section, row.outside): row for row in there}
            lines = [[str(parties), *(cell(by_place[parties, *load]) if (parties, *load) in by_place else NOTHING for load in loads)]
                     for parties in sorted({row.parties for row in there})]
            return Table(title, note, [kind, *(load_name(*load) for load in loads)], lines)

        def three(metric):
            return lambda row: "/".join(in_brief(median(samples, row, lock, metric), BRIEF[metric]) for lock in (SUBJECT, *RIVALS))

        yield matrix(f"Contended, {kind}: throughput of heirlock / the best of glibc robust and Boost", f"{LOADS_NOTE}\nAbove 1: heirlock does more.",
                     lambda row: ratio_of(made.estimate(against_best(samples, row).values())))
        yield matrix(f"Contended, {kind}: CPU time per operation of heirlock / glibc robust", "Below 1: heirlock costs less.",
                     lambda row: ratio_of(made.estimate(against(samples, row, SUBJECT, ROBUST, "cpu_ns_per_operation").values())))
        for metric, title, note in MATRICES:
            yield matrix(f"Contended, {kind}: {title}", f"{note}heirlock/glibc-robust/boost.", three(metric))


UNITS = "In ns (n), us (u), ms (m) or s: "
MATRICES = (("operations_per_second", "throughput", "Operations a second: "), ("syscalls_per_operation", "system calls per operation", ""),
            ("fairness", "fairness", "Least share of a party / largest share: "), ("wait_p50_ns", "waiting time, median", UNITS),
            ("wait_p99_ns", "waiting time, 99th percentile", UNITS), ("wait_max_ns", "longest wait", UNITS),
            *((f"free_{name}_ns", f"time for which a wanted lock stays free, {words}", UNITS)
              for name, words in (("p50", "median"), ("p99", "99th percentile"), ("p999", "99.9th percentile"), ("max", "longest"))))


def pinned_table(samples, rows):
    there = [row for row in contended(rows) if row.pinned]
    parties = sorted({row.parties for row in there})
    lines = [[f"{count}", *cells(samples, [row for row in there if row.parties == count])] for count in parties]
    if lines:
        yield Table("Contended, each party pinned to one processor: throughput", f"Critical section of {SHORT} ns; heirlock / the best of glibc robust and Boost.",
                    ["parties", "processes", "threads"], lines)


def cells(samples, rows):
    by_kind = {row.kind: row for row in rows}
    for kind in ("processes", "threads"):
        yield ratio_of(made.estimate(against_best(samples, by_kind[kind]).values())) if kind in by_kind else NOTHING


def all_locks_tables(samples, rows):
    """Every lock and every metric, for the short critical section."""
    for kind in ("processes", "threads"):
        there = [row for row in contended(rows, kind) if (row.section, row.outside, row.pinned) == (SHORT, 0, "")]
        lines = []
        for row in there:
            lines += [[f"{row.parties} {lock}", *metrics_of(samples, row, lock)] for lock in locks_of(samples, [row])]
        if lines:
            yield Table(f"Contended, {kind}: all locks, critical section of {SHORT} ns", "", [kind, *HEADINGS.values()], lines)
    lines = [[f"{row.parties} {load_name(row.section, row.outside)} {lock}", *metrics_of(samples, row, lock)]
             for row in rows if row.case == "fairness" for lock in locks_of(samples, [row])]
    if lines:
        yield Table("Contended, processes, for 1 s: fairness", "", ["", *HEADINGS.values()], lines)


def metrics_of(samples, row, lock):
    return [show(median(samples, row, lock, metric)) for metric, show in SHOWN.items()]


LATENCIES = {"ping-pong": ("Hand-over from one process to another", "any: wherever the system puts them; one, two: kept on so many processors."),
             "kill": ("From SIGKILL of the owner to the heir running", "Only robust locks have heirs.")}


def latency_tables(samples, rows):
    for case, (title, note) in LATENCIES.items():
        there = [row for row in rows if row.case == case]
        locks = locks_of(samples, there)
        if not locks:
            continue
        places = [{"": "any", "same": "one", "apart": "two"}[row.pinned] for row in there]
        yield Table(title, note, ["lock", *(f"{name} {place}" for place in places for name in ("p50", "p99"))],
                    [[lock, *(time_of(median(samples, row, lock, metrics[case])) for row in there for metrics in (P50, P99))]
                     for lock in locks])
        yield Table(f"{title}: p50 of heirlock / the other", "Below 1: heirlock is faster.", ["lock", *places],
                    [[lock, *(ratio_of(made.estimate(against(samples, row, SUBJECT, lock, P50[case]).values())) for row in there)]
                     for lock in locks if lock != SUBJECT])


def memory_table(samples, rows):
    row = Row("memory")
    locks = locks_of(samples, [row]) if row in rows else []
    if locks:
        yield Table("Memory of 1,000,000 locks", "Of Lockable 30,000: each has a mapping of its own.",
                    ["lock", "bytes of the type", "resident bytes of each"],
                    [[lock, *(whole(median(samples, row, lock, metric)) for metric in ("sizeof_bytes", "resident_bytes_per_lock"))]
                     for lock in locks])


def whole(value):
    return NOTHING if value is None else f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.1f}"


def all_tables(samples, rows):
    for tables in (operation_tables, held_tables, python_table, latency_tables, memory_table, matrices, pinned_table, all_locks_tables):
        yield from tables(samples, rows)
