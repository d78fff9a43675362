"""What is measured: rows, the locks that take part in each, and the commands that measure them."""
import dataclasses
import json
import pathlib
import sys

SHORT, LONG = 100, 10_000  # critical sections, in nanoseconds
OUTSIDE = 1_000            # work outside, in nanoseconds
PARTIES = (2, 4, 8, 16, 32, 64)
HELD = (1, 10, 100, 1000, 2000)

SUBJECT = "heirlock"
RIVALS = ("glibc-robust", "boost")  # what contended throughput is held against, in every row
ALL_SHARED = ("heirlock", "lockable", "glibc-robust", "glibc", "boost", "sem")
ROBUST_LOCKS = ("heirlock", "lockable", "glibc-robust")
P50 = {"ping-pong": "handover_p50_ns", "kill": "heir_p50_ns"}
P99 = {"ping-pong": "handover_p99_ns", "kill": "heir_p99_ns"}

OPERATIONS = {
    "pair": "acquire + release",
    "nested": "the same by the owner",
    "try-held": "a try while another thread holds the lock",
    "timed": "acquire with a time limit + release",
    "create": "a lock in a fresh shared mapping is made and unmade",
    "open": "what has a name is opened and closed",
}
PYTHON_OPERATIONS = {
    "python pair": "acquire + release",
    "python with": "an empty with block",
    "python nested": "acquire + release by the owner",
    "python method": "a locked method that does nothing",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What is compared: every lock of a row is measured under the same conditions, next to the others."""
    case: str
    kind: str = ""    # processes or threads
    parties: int = 0
    section: int = 0
    outside: int = 0
    held: int = 0
    pinned: str = ""  # "" (the system chooses the processor), same or apart

    @property
    def name(self):
        parts = [self.case]
        if self.held:
            parts.append(f"{self.held} held")
        if self.kind:
            parts.append(f"{self.parties} {self.kind}")
        if self.case in ("contended", "fairness"):
            parts.append(f"section {self.section} ns")
            parts.append(f"outside {self.outside} ns")
        if self.pinned:
            parts.append({"same": "on one processor", "apart": "on two processors"}[self.pinned])
        return ", ".join(parts)


INCREMENTS = tuple(Row("python increment", "processes", parties) for parties in (2, 8))
FAIRNESS = (Row("fairness", "processes", 8, SHORT), *(Row("fairness", "processes", parties, LONG) for parties in (8, 16, 64)))


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One run of one program, which gives samples of one or several locks and rows."""
    rows: tuple
    command: tuple
    read: object  # a function of what the program printed and the rows: yields (row, lock, repetition, values)
    what: str     # the lock, for people


@dataclasses.dataclass(frozen=True)
class Programs:
    operations: pathlib.Path
    parties: pathlib.Path
    speed: float  # steps of work a microsecond, the same for all runs


MINUTES = {"quick": 2, "full": 15}
SECONDS_OF_CONTENTION = 0.15
SECONDS_OF_OPERATION = 0.02
REPETITIONS = 3
KILLS = 30

LEFT_OUT_OF_QUICK = (
    "--quick leaves out: hand-overs on chosen processors; of the contended rows all but 2, 8 and 64 processes and 2 and 8 threads, and"
    " with work outside all but 8 processes; of the locks in contended rows all but heirlock, glibc-robust and boost; 10, 100"
    " and 1,000 held locks. The rest is measured as in the full run, in fewer rounds.")


def contended_rows(is_quick):
    """Row by row with the locks that take part."""
    if is_quick:
        rows = [Row("contended", "processes", parties, section) for parties in (2, 8, 64) for section in (0, SHORT, LONG)]
        rows += [Row("contended", "processes", 8, SHORT, OUTSIDE)]
        rows += [Row("contended", "threads", parties, SHORT) for parties in (2, 8)]
        return {row: (SUBJECT, *RIVALS) for row in rows}
    rows = {}
    for kind, everyone in (("processes", ALL_SHARED), ("threads", (*ALL_SHARED, "std-recursive"))):
        for parties in PARTIES:
            for section in (0, SHORT, LONG):
                for outside in (0, OUTSIDE):
                    is_reference = section == SHORT and outside == 0
                    rows[Row("contended", kind, parties, section, outside)] = everyone if is_reference else (SUBJECT, *RIVALS)
    return rows


def groups_of(mode, programs):
    """The measurements, in groups: those of a group are compared with each other, and so made next to each other."""
    def between_parties(row, lock, *options):
        case = "contended" if row.case == "fairness" else row.case
        return Measurement((row,), (programs.parties, case, "--lock", lock, *options), read_lines, lock)

    def contended(row, lock, seconds):
        return between_parties(row, lock, f"--{row.kind}", str(row.parties), "--section", str(row.section), "--outside", str(row.outside),
                               "--speed", f"{programs.speed:g}", "--seconds", f"{seconds:g}")

    is_quick = mode == "quick"
    groups = [[operation(programs, case, (Row(case),))] for case in OPERATIONS]
    groups.append([operation(programs, "held", tuple(Row("held", held=held) for held in ((HELD[0], HELD[-1]) if is_quick else HELD)))])
    groups += [[python(Row(case), SECONDS_OF_OPERATION)] for case in PYTHON_OPERATIONS]
    groups += [[python(row, SECONDS_OF_CONTENTION, "--processes", str(row.parties))] for row in INCREMENTS]
    groups += [[contended(row, lock, SECONDS_OF_CONTENTION) for lock in locks] for row, locks in contended_rows(is_quick).items()]
    groups += [[contended(row, lock, 1) for lock in (SUBJECT, *RIVALS)] for row in FAIRNESS]
    for pinned in ("",) if is_quick else ("", "same", "apart"):
        options = ("--pinned", pinned) if pinned else ()
        groups.append([between_parties(Row("ping-pong", pinned=pinned), lock, *options) for lock in ("floor-switch", *ALL_SHARED)])
    groups.append([between_parties(Row("kill"), lock, "--times", str(KILLS)) for lock in ROBUST_LOCKS])
    return groups


def operation(programs, case, rows):
    """Google Benchmark measures all locks of a case in one process, their repetitions in random order."""
    filters = {"held": "|".join(f"^held/[^/]+/{row.held}(/|$)" for row in rows), "pair": "^(pair|floor)/"}.get(case, f"^{case}/")
    command = (programs.operations, f"--benchmark_filter={filters}", f"--benchmark_repetitions={REPETITIONS}",
               "--benchmark_enable_random_interleaving=true", f"--benchmark_min_time={SECONDS_OF_OPERATION:g}",
               "--benchmark_format=json")
    return Measurement(rows, command, read_google, "all locks")


def python(row, seconds, *options):
    """Every lock that Python has, heirlock among them as heirlock-python."""
    program = pathlib.Path(__file__).resolve().parent / "python_rlock.py"
    command = (sys.executable, "-B", program, row.case.removeprefix("python "), "--repetitions", str(REPETITIONS), "--seconds",
               f"{seconds:g}", *options)
    return Measurement((row,), command, read_lines, "all locks of Python")


def read_google(text, rows):
    """Google Benchmark's JSON; a benchmark is named CASE/LOCK or held/LOCK/N. Floors are measured beside the pairs."""
    nanoseconds = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
    for result in json.loads(text)["benchmarks"]:
        if result.get("run_type") == "aggregate":
            continue
        if result.get("error_occurred"):
            raise ValueError(f"{result['name']}: {result.get('error_message')}")
        case, lock, *arguments = result["run_name"].split("/")
        held = int(arguments[0]) if case == "held" else 0
        row = next(row for row in rows if (row.case, row.held) == ("pair" if case == "floor" else case, held))
        yield row, lock, result.get("repetition_index", 0), {"ns": result["real_time"] * nanoseconds[result["time_unit"]]}


def read_lines(text, rows):
    """One JSON object a line, each of one lock and one repetition."""
    if not text.strip():
        raise ValueError("the program printed nothing")
    for result in map(json.loads, text.splitlines()):
        yield rows[0], result["lock"], result.get("repetition", 0), result["values"]
