"""What heirlock is to reach, and what it may not fall behind: each a ratio of values measured in one run."""
import dataclasses
import datetime
import json

import samples as made
from plan import FAIRNESS, INCREMENTS, P50, RIVALS, SUBJECT, Row

AT_MOST, AT_LEAST = "at most", "at least"
ROBUST = "glibc-robust"
PYTHON = ("heirlock-python", "python-rlock")


@dataclasses.dataclass(frozen=True)
class Quotient:
    """A ratio for each moment at which what it needs was measured."""
    name: str
    sense: str
    series: dict
    rows: tuple = ()

    @property
    def estimate(self):
        return made.estimate(self.series.values())


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    sense: str
    limit: float
    reached: made.Estimate = None
    remark: str = ""

    @property
    def verdict(self):
        if self.reached is None:
            return "not measured"
        is_met = self.reached.median <= self.limit if self.sense == AT_MOST else self.reached.median >= self.limit
        return "reached" if is_met else "MISSED"


def against(samples, row, lock, peer, metric="ns"):
    return made.ratios(samples.series(row.name, lock, metric), samples.series(row.name, peer, metric))


def against_best(samples, row, metric="operations_per_second"):
    best = made.best_of([samples.series(row.name, peer, metric) for peer in RIVALS])
    return made.ratios(samples.series(row.name, SUBJECT, metric), best)


def held_ratio(samples, lock, many=2000, few=1):
    return made.ratios(samples.series(Row("held", held=many).name, lock, "ns"), samples.series(Row("held", held=few).name, lock, "ns"))


def contended(rows, kind=None):
    return [row for row in rows if row.case == "contended" and kind in (None, row.kind)]


def targets(samples, rows):
    pair, nested = Row("pair"), Row("nested")
    all_contended = contended(rows)
    processor_time = {row: against(samples, row, SUBJECT, ROBUST, "cpu_ns_per_operation") for row in all_contended}
    return [
        Target("uncontended pair / floor of one CAS + one exchange", AT_MOST, 1.3,
               made.estimate(against(samples, pair, SUBJECT, "floor-cas-exchange").values()),
               reentrant_floor(samples, pair)),
        Target("uncontended pair / glibc recursive robust shared", AT_MOST, 0.6,
               made.estimate(against(samples, pair, SUBJECT, ROBUST).values())),
        Target("uncontended pair / std::recursive_mutex", AT_MOST, 1.0,
               made.estimate(against(samples, pair, SUBJECT, "std-recursive").values())),
        Target("nested pair / glibc recursive robust shared", AT_MOST, 0.15,
               made.estimate(against(samples, nested, SUBJECT, ROBUST).values())),
        Target("try on a held lock / std::recursive_mutex", AT_MOST, 2.0,
               made.estimate(against(samples, Row("try-held"), SUBJECT, "std-recursive").values())),
        Target("Lockable::locked / ReentrantLock pair", AT_MOST, 1.1,
               made.estimate(against(samples, pair, "lockable", SUBJECT).values())),
        worst_row(samples, "contended throughput / best of glibc robust, Boost: worst row", AT_LEAST, 0.95,
                  {row: against_best(samples, row) for row in all_contended}),
        Target("contended throughput, geometric mean of these rows", AT_LEAST, 1.5,
               made.estimate(made.geometric_mean_of([against_best(samples, row) for row in all_contended]).values())),
        Target("CPU per operation, contended / glibc robust (geometric mean)", AT_MOST, 0.75,
               made.estimate(made.geometric_mean_of(list(processor_time.values())).values())),
        worst_row(samples, "the same: worst row", AT_MOST, 1.1, processor_time),
        *(Target(f"fairness min/max share, {row.parties} processes, {row.section} ns, 1 s", AT_LEAST, limit,
                 samples.estimate(row.name, SUBJECT, "fairness"), fairness_of_rivals(samples, row))
          for row, limit in zip(FAIRNESS, (0.5, 0.5, 0.3, 0.15))),
        worst_row(samples, "a wanted lock stays free (p99.9) / glibc robust's or 1 ms: worst row", AT_MOST, 1.0,
                  {row: free_time(samples, row) for row in all_contended}),
        Target("hand-over on one processor / glibc robust (p50)", AT_MOST, 1.1,
               made.estimate(against(samples, Row("ping-pong", pinned="same"), SUBJECT, ROBUST, P50["ping-pong"]).values())),
        Target("SIGKILL to heir running / glibc robust (p50)", AT_MOST, 1.0,
               made.estimate(against(samples, Row("kill"), SUBJECT, ROBUST, P50["kill"]).values())),
        Target("acquire with 2,000 locks held / with 1", AT_MOST, 1.1, made.estimate(held_ratio(samples, SUBJECT).values())),
        *(Target(f"{name} / multiprocessing.RLock", AT_MOST, limit, made.estimate(against(samples, Row(name), *PYTHON).values()))
          for name, limit in (("python pair", 0.75), ("python with", 0.5), ("python nested", 0.6), ("python method", 0.25))),
        *(Target(f"{row.name}, throughput / multiprocessing.RLock", AT_LEAST, limit,
                 made.estimate(against(samples, row, *PYTHON, "operations_per_second").values()))
          for row, limit in zip(INCREMENTS, (0.9, 2.0))),
    ]


def reentrant_floor(samples, pair):
    """What the least that a reentrant lock does is to that floor."""
    ratio = made.estimate(against(samples, pair, "floor-reentrant", "floor-cas-exchange").values())
    return f"the least of a reentrant lock: {ratio.median:.2f}" if ratio else ""


def fairness_of_rivals(samples, row):
    found = ((peer, samples.estimate(row.name, peer, "fairness")) for peer in RIVALS)
    return "; ".join(f"{peer} {estimate.median:.2f}" for peer, estimate in found if estimate)


def free_time(samples, row):
    """Against that of glibc's robust mutex, or a millisecond if that is more."""
    metric, millisecond = "free_p999_ns", 1e6
    peers = samples.series(row.name, ROBUST, metric)
    return made.ratios(samples.series(row.name, SUBJECT, metric), {moment: max(value, millisecond) for moment, value in peers.items()})


def worst_row(samples, name, sense, limit, series):
    estimates = {row: made.estimate(ratios.values()) for row, ratios in series.items()}
    estimates = {row: estimate for row, estimate in estimates.items() if estimate}
    if not estimates:
        return Target(name, sense, limit)
    worst = (max if sense == AT_MOST else min)(estimates, key=lambda row: estimates[row].median)
    missed = sum(one.median > limit if sense == AT_MOST else one.median < limit for one in estimates.values())
    return Target(name, sense, limit, estimates[worst], f"{worst.name}; {missed} of {len(estimates)} rows miss it")


def guarded(samples, rows):
    """The ratios against the peers that --check watches, of all rows that were measured but hand-overs on chosen processors."""
    found = []
    for row in rows:
        if row.pinned or row.case == "fairness":
            continue
        if row.case == "contended":
            found.append(Quotient(f"{row.name}: throughput of heirlock / best of glibc-robust, boost", AT_LEAST,
                                  against_best(samples, row), (row,)))
            found.append(Quotient(f"{row.name}: CPU time of heirlock / glibc-robust", AT_MOST,
                                  against(samples, row, SUBJECT, ROBUST, "cpu_ns_per_operation"), (row,)))
        else:
            metric = P50.get(row.case, "ns")
            for peer in (ROBUST, "floor-cas-exchange", "std-recursive"):
                found.append(Quotient(f"{row.name}: heirlock / {peer}", AT_MOST, against(samples, row, SUBJECT, peer, metric), (row,)))
            found.append(Quotient(f"{row.name}: lockable / heirlock", AT_MOST, against(samples, row, "lockable", SUBJECT, metric),
                                  (row,)))
    held = (Row("held", held=2000), Row("held", held=1))
    if all(row in rows for row in held):
        found.append(Quotient("heirlock with 2000 held / with 1", AT_MOST, held_ratio(samples, SUBJECT), held))
    return [quotient for quotient in found if quotient.series]


ROUNDING = 0.0001  # bounds are written with four digits


@dataclasses.dataclass(frozen=True)
class Judgement:
    quotient: Quotient
    bound: float
    noise: float  # of the run that set the bound and of this one, together

    @property
    def excess(self):
        found = self.quotient.estimate.median
        return found - self.bound if self.quotient.sense == AT_MOST else self.bound - found

    @property
    def is_worse(self):
        return self.excess > self.noise + ROUNDING

    def __str__(self):
        return (f"{self.quotient.name}: found {self.quotient.estimate.median:.3f}, expected {self.quotient.sense}"
                f" {self.bound:.3f}, and noise explains {self.noise:.3f} of the difference, not {self.excess:.3f}")


def judge(quotients, bounds):
    """Those that have a bound. The interquartile ranges of both runs add up to what counts as noise."""
    judged = []
    for quotient in quotients:
        bound = bounds["bounds"].get(quotient.name)
        if bound:
            judged.append(Judgement(quotient, bound[quotient.sense], bound["noise"] + quotient.estimate.noise))
    return judged


def bounds_from(quotients, measured_on):
    return {"set": datetime.date.today().isoformat(), "on": measured_on,
            "bounds": {one.name: {one.sense: round(one.estimate.median, 4), "noise": round(one.estimate.noise, 4)}
                       for one in quotients}}


def write_bounds(file, bounds):
    """A line each, so that a change of one is a change of one line."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(bound)}" for name, bound in bounds["bounds"].items())
    file.write_text(f'{{\n  "set": {json.dumps(bounds["set"])},\n  "on": {json.dumps(bounds["on"])},\n'
                    f'  "bounds": {{\n{lines}\n  }}\n}}\n', encoding="utf-8")
