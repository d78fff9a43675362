"""What was measured, and what is made of it: ratios of samples that were taken side by side, their median and spread."""
import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The median of some samples, and their quartiles."""
    median: float
    low: float
    high: float
    count: int

    @property
    def noise(self):
        return self.high - self.low


def estimate(values):
    """None when there are no values."""
    values = sorted(values)
    if not values:
        return None
    if len(values) == 1:
        return Estimate(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Estimate(median, low, high, len(values))


class Samples:
    """The values of each row, lock and metric. Those of one (round, repetition) were measured side by side."""

    def __init__(self):
        self.records = []  # as in results.json
        self._index = {}
        self._locks = {}

    def add(self, row, lock, moment, values):
        self.records.append({"row": row, "lock": lock, "round": moment[0], "repetition": moment[1], "values": values})
        self._locks.setdefault(row, {})[lock] = True
        for metric, value in values.items():
            if isinstance(value, (int, float)):  # not null, and not the reason for it
                self._index.setdefault((row, lock, metric), {})[moment] = value

    @classmethod
    def from_records(cls, records):
        samples = cls()
        for record in records:
            samples.add(record["row"], record["lock"], (record["round"], record["repetition"]), record["values"])
        return samples

    def series(self, row, lock, metric):
        return self._index.get((row, lock, metric), {})

    def estimate(self, row, lock, metric):
        return estimate(self.series(row, lock, metric).values())

    def locks(self, row):
        return list(self._locks.get(row, {}))


def ratios(numerators, denominators):
    """One ratio for each moment at which both were measured: what slowed one of them slowed the other as well."""
    return {moment: value / denominators[moment] for moment, value in numerators.items() if denominators.get(moment)}


def best_of(series, pick=max):
    """The best of several locks, moment by moment; only where all were measured, or the best may be missing."""
    return {moment: pick(one[moment] for one in series) for moment in common_moments(series)}


def geometric_mean_of(series):
    """Over several rows, moment by moment."""
    return {moment: math.exp(statistics.fmean(math.log(one[moment]) for one in series))
            for moment in common_moments(series) if all(one[moment] > 0 for one in series)}


def common_moments(series):
    if not series:
        return []
    return [moment for moment in series[0] if all(moment in one for one in series)]
