"""The tables, once for the terminal and once for RESULTS.md."""
import dataclasses
import textwrap

import samples as made
from plan import INCREMENTS, LONG, OPERATIONS, OUTSIDE, P50, P99, PYTHON_OPERATIONS, SHORT, SUBJECT, Row
from targets import PYTHON, ROBUST, against, against_best, contended, held_ratio

WIDTH = 118
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


def target_table(targets, with_remarks=False):
    lines = [[target.name, f"{target.sense} {target.limit}", ratio_of(target.reached), target.verdict, *([target.remark] if with_remarks else [])]
             for target in targets]
    return Table("Targets", "", ["ratio in one run", "target", "reached", "", *(["remark"] if with_remarks else [])], lines)


def remarks(targets):
    return [f"{target.name}: {target.remark}." for target in targets if target.remark]


def operation_table(samples, rows):
    there = [Row(case) for case in OPERATIONS if Row(case) in rows]
    lines = [[lock, *(time_and_ratio(samples, row, lock, "ns") for row in there)] for lock in locks_of(samples, there)]
    if lines:
        yield Table("Operations nobody waits for", "; ".join(f"{row.case}: {OPERATIONS[row.case]}" for row in there) + f".\n{RATIO_NOTE}",
                    ["lock", *(row.case for row in there)], lines)


RATIO_NOTE = "In parentheses: heirlock / this lock; below 1 heirlock is faster; ? where the spread is a third of the ratio or more."


def time_and_ratio(samples, row, lock, metric):
    ratio = made.estimate(against(samples, row, SUBJECT, lock, metric).values())
    text = time_of(median(samples, row, lock, metric))
    if not ratio or lock == SUBJECT:
        return text
    return f"{text} ({ratio.median:.2f})" if ratio.noise / 2 < ratio.median / 3 else f"{text} (?)"


def held_table(samples, rows):
    there = [row for row in rows if row.case == "held"]
    locks = locks_of(samples, there)
    if locks:
        few, many = there[0].held, there[-1].held
        yield Table("Acquire + release while others are held", "Locks that keep a list of what is held; the others have nothing that could grow.",
                    ["lock", *(f"{row.held:,} held" for row in there), f"{many:,} / {few:,}"],
                    [[lock, *(time_of(median(samples, row, lock, "ns")) for row in there),
                      ratio_of(made.estimate(held_ratio(samples, lock, many, few).values()))] for lock in locks])


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


def contended_tables(samples, rows):
    """A line for each number of parties, a column for each load."""
    for kind in ("processes", "threads"):
        there = contended(rows, kind)
        loads = sorted({(row.section, row.outside) for row in there}, key=lambda load: (load[1], load[0]))
        for title, note, ratios in CONTENDED if kind == "processes" else CONTENDED[:1]:
            lines = [[str(parties), *(ratio_of(made.estimate(ratios(samples, Row("contended", kind, parties, *load)).values())) for load in loads)]
                     for parties in sorted({row.parties for row in there})]
            if lines:
                yield Table(f"Contended, {kind}: {title}", note, [kind, *(load_name(*load) for load in loads)], lines)


CONTENDED = (("throughput of heirlock / the best of glibc robust and Boost", f"{LOADS_NOTE}\nAbove 1: heirlock does more.", against_best),
             ("CPU time per operation of heirlock / glibc robust", "Below 1: heirlock costs less.",
              lambda samples, row: against(samples, row, SUBJECT, ROBUST, "cpu_ns_per_operation")))


def fairness_table(samples, rows):
    lines = [[f"{row.parties} {load_name(row.section, row.outside)} {lock}", *metrics_of(samples, row, lock)]
             for row in rows if row.case == "fairness" for lock in locks_of(samples, [row])]
    if lines:
        yield Table("Contended, processes, for 1 s: fairness, waits, and how long a wanted lock stays free", "", ["", *HEADINGS.values()], lines)


def metrics_of(samples, row, lock):
    return [show(median(samples, row, lock, metric)) for metric, show in SHOWN.items()]


LATENCIES = {"ping-pong": ("Hand-over from one process to another", "any: wherever the system puts them; one, two: kept on so many processors."),
             "kill": ("From SIGKILL of the owner to the heir running", "Only robust locks have heirs.")}


def latency_tables(samples, rows):
    for case, (title, note) in LATENCIES.items():
        there = [row for row in rows if row.case == case]
        places = [{"": "any", "same": "one", "apart": "two"}[row.pinned] for row in there]
        lines = [[lock, *(cell for row in there for cell in (time_and_ratio(samples, row, lock, P50[case]), time_of(median(samples, row, lock, P99[case]))))]
                 for lock in locks_of(samples, there)]
        if lines:
            yield Table(title, f"{note} {RATIO_NOTE}", ["lock", *(f"{name} {place}" for place in places for name in ("p50", "p99"))], lines)


def all_tables(samples, rows):
    for tables in (operation_table, held_table, python_table, latency_tables, contended_tables, fairness_table):
        yield from tables(samples, rows)
