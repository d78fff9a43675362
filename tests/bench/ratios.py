"""The samples, the ratios of those that were measured side by side, and what the ratios are held against: targets and bounds."""
import collections
import dataclasses
import datetime
import functools
import json
import statistics

from plan import FAIRNESS, INCREMENTS, P50, RIVALS, SUBJECT, Row

AT_MOST, AT_LEAST = "at most", "at least"
ROBUST = "glibc-robust"
PYTHON = ("heirlock-python", "python-rlock")
RATE, CPU = "operations_per_second", "cpu_ns_per_operation"


class Samples:
    """A series has one value for each moment, which is a round and a repetition. What has the same moment was measured side by side."""

    def __init__(self, records=()):
        self.records = []  # as in results.json
        self._series = collections.defaultdict(dict)
        for record in records:
            self.add(**record)

    def add(self, row, lock, round, repetition, values):
        self.records.append({"row": row, "lock": lock, "round": round, "repetition": repetition, "values": values})
        for metric, value in values.items():
            if isinstance(value, (int, float)):  # null is what this system cannot measure
                self._series[row, lock, metric][round, repetition] = value

    def series(self, row, lock, metric):
        return self._series.get((row.name, lock, metric), {})

    def estimate(self, row, lock, metric):
        return estimate(self.series(row, lock, metric))

    def locks(self, row):
        return {lock for name, lock, _ in self._series if name == row.name}


@dataclasses.dataclass(frozen=True)
class Estimate:
    median: float
    low: float   # the quartiles
    high: float

    @property
    def noise(self):
        return self.high - self.low


def estimate(series):
    """None if there are no values."""
    values = list(series.values())
    if len(values) < 2:
        return Estimate(*3 * values) if values else None
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Estimate(median, low, high)


def quotients(numerators, denominators):
    """One for each moment at which both were measured: what slowed one of them slowed the other as well."""
    return {moment: value / denominators[moment] for moment, value in numerators.items() if denominators.get(moment)}


def combined(combine, series):
    """Of several series, moment by moment; only where all were measured, or the best may be missing."""
    moments = set.intersection(*map(set, series)) if series else ()
    return {moment: combine([one[moment] for one in series]) for moment in moments}


def against(samples, row, peer, metric="ns", lock=SUBJECT):
    return quotients(samples.series(row, lock, metric), samples.series(row, peer, metric))


def against_best(samples, row):
    best = combined(max, [samples.series(row, peer, RATE) for peer in RIVALS])
    return quotients(samples.series(row, SUBJECT, RATE), best)


def held_ratio(samples, lock, many=2000, few=1):
    return quotients(*(samples.series(Row("held", held=held), lock, "ns") for held in (many, few)))


def free_time(samples, row):
    """How long a wanted lock stays free, against glibc's robust mutex, or against a millisecond if that is more."""
    peers = samples.series(row, ROBUST, "free_p999_ns")
    return quotients(samples.series(row, SUBJECT, "free_p999_ns"), {moment: max(value, 1e6) for moment, value in peers.items()})


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio at several moments, and what is asked of their median."""
    name: str
    sense: str
    series: dict
    limit: float = None
    remark: str = ""
    row: Row = None

    @functools.cached_property
    def estimate(self):
        return estimate(self.series)

    def excess(self, limit):
        """By how much it is worse than the limit; negative if it is better."""
        return self.estimate.median - limit if self.sense == AT_MOST else limit - self.estimate.median

    @property
    def verdict(self):
        return "not measured" if not self.series else "MISSED" if self.excess(self.limit) > 0 else "reached"


def targets(samples, rows):
    """What heirlock is to reach."""
    pair, in_contention = Row("pair"), [row for row in rows if row.case == "contended"]
    throughput = {row: against_best(samples, row) for row in in_contention}
    processor_time = {row: against(samples, row, ROBUST, CPU) for row in in_contention}

    def from_python(row, metric="ns"):
        return against(samples, row, PYTHON[1], metric, PYTHON[0])

    def fairness_of_rivals(row):
        found = ((peer, samples.estimate(row, peer, "fairness")) for peer in RIVALS)
        return "; ".join(f"{peer} {one.median:.2f}" for peer, one in found if one)

    least = estimate(against(samples, pair, "floor-cas-exchange", lock="floor-reentrant"))
    return [
        Ratio("uncontended pair / floor of one CAS + one exchange", AT_MOST, against(samples, pair, "floor-cas-exchange"), 1.3,
              f"the least of a reentrant lock: {least.median:.2f}" if least else ""),
        Ratio("uncontended pair / glibc recursive robust shared", AT_MOST, against(samples, pair, ROBUST), 0.6),
        Ratio("uncontended pair / std::recursive_mutex", AT_MOST, against(samples, pair, "std-recursive"), 1.0),
        Ratio("nested pair / glibc recursive robust shared", AT_MOST, against(samples, Row("nested"), ROBUST), 0.15),
        Ratio("try on a held lock / std::recursive_mutex", AT_MOST, against(samples, Row("try-held"), "std-recursive"), 2.0),
        Ratio("Lockable::locked / ReentrantLock pair", AT_MOST, against(samples, pair, SUBJECT, lock="lockable"), 1.1),
        worst_row("contended throughput / best of glibc robust, Boost: worst row", AT_LEAST, throughput, 0.95),
        Ratio("contended throughput, geometric mean of these rows", AT_LEAST, geometric_mean(throughput), 1.5),
        Ratio("CPU per operation, contended / glibc robust (geometric mean)", AT_MOST, geometric_mean(processor_time), 0.75),
        worst_row("the same: worst row", AT_MOST, processor_time, 1.1),
        *(Ratio(f"fairness min/max share, {row.parties} processes, {row.section} ns, 1 s", AT_LEAST,
                samples.series(row, SUBJECT, "fairness"), limit, fairness_of_rivals(row))
          for row, limit in zip(FAIRNESS, (0.5, 0.5, 0.3, 0.15))),
        worst_row("a wanted lock stays free (p99.9) / glibc robust's or 1 ms: worst row", AT_MOST,
                  {row: free_time(samples, row) for row in in_contention}, 1.0),
        Ratio("hand-over on one processor / glibc robust (p50)", AT_MOST,
              against(samples, Row("ping-pong", pinned="same"), ROBUST, P50["ping-pong"]), 1.1),
        Ratio("SIGKILL to heir running / glibc robust (p50)", AT_MOST, against(samples, Row("kill"), ROBUST, P50["kill"]), 1.0),
        Ratio("acquire with 2,000 locks held / with 1", AT_MOST, held_ratio(samples, SUBJECT), 1.1),
        *(Ratio(f"{name} / multiprocessing.RLock", AT_MOST, from_python(Row(name)), limit)
          for name, limit in (("python pair", 0.75), ("python with", 0.5), ("python nested", 0.6), ("python method", 0.25))),
        *(Ratio(f"{row.name}, throughput / multiprocessing.RLock", AT_LEAST, from_python(row, RATE), limit)
          for row, limit in zip(INCREMENTS, (0.9, 2.0))),
    ]


def geometric_mean(series):
    return combined(lambda values: statistics.geometric_mean(values) if all(values) else 0, list(series.values()))


def worst_row(name, sense, series, limit):
    ratios = [Ratio(name, sense, one, limit, row.name) for row, one in series.items() if one]
    if not ratios:
        return Ratio(name, sense, {}, limit)
    worst = max(ratios, key=lambda ratio: ratio.excess(limit))
    missed = sum(ratio.verdict == "MISSED" for ratio in ratios)
    return dataclasses.replace(worst, remark=f"{worst.remark}; {missed} of {len(ratios)} rows miss it")


def guarded(samples, rows):
    """The ratios against the peers that --check watches: of all rows but hand-overs on chosen processors and runs of 1 s."""
    found = []

    def guard(row, name, sense, series):
        if series:
            found.append(Ratio(name, sense, series, row=row))

    for row in rows:
        if row.case == "contended":
            guard(row, f"{row.name}: throughput of heirlock / best of glibc-robust, boost", AT_LEAST, against_best(samples, row))
            guard(row, f"{row.name}: CPU time of heirlock / glibc-robust", AT_MOST, against(samples, row, ROBUST, CPU))
        elif row.case != "fairness" and not row.pinned:
            for lock, peer in ((SUBJECT, ROBUST), (SUBJECT, "floor-cas-exchange"), (SUBJECT, "std-recursive"), ("lockable", SUBJECT)):
                guard(row, f"{row.name}: {lock} / {peer}", AT_MOST, against(samples, row, peer, P50.get(row.case, "ns"), lock))
    guard(Row("held", held=2000), "heirlock with 2000 held / with 1", AT_MOST, held_ratio(samples, SUBJECT))
    return found


def complaint(ratio, bound):
    """None unless it is worse than its bound by more than the noise of the run that set the bound and of this one, together."""
    limit, noise = bound[ratio.sense], bound["noise"] + ratio.estimate.noise
    excess = ratio.excess(limit)
    rounding = 0.0001  # bounds are written with four digits
    if excess <= noise + rounding:
        return None
    return (f"{ratio.name} is {ratio.estimate.median:.3f}, its bound {ratio.sense} {limit:.3f}; noise explains {noise:.3f} of the difference"
            f" of {excess:.3f}")


def write_bounds(file, ratios, measured_on):
    """A line each, so that a change of one is a change of one line."""
    head = json.dumps({"set": datetime.date.today().isoformat(), "on": measured_on, "bounds": {}}, indent=2).removesuffix("}\n}")
    lines = (f"    {json.dumps(one.name)}: {json.dumps({one.sense: round(one.estimate.median, 4), 'noise': round(one.estimate.noise, 4)})}"
             for one in ratios)
    file.write_text(head + "\n" + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")
