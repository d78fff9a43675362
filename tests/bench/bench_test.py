#!/usr/bin/env python3
"""What ci/bench makes of the measurements; `echo` takes the place of the programs that measure."""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
from unittest import mock

import bench
import plan
import ratios
import report
import rounds
from plan import Measurement, Row
from ratios import AT_LEAST, AT_MOST, Estimate, Ratio, Samples, estimate

PAIR = Row("pair")


def samples_of(row, metric="ns", **series):
    """From LOCK=[value of each round]."""
    return Samples({"row": row.name, "lock": lock.replace("_", "-"), "round": moment, "repetition": 0, "values": {metric: value}}
                   for lock, values in series.items() for moment, value in enumerate(values))


# Spec: bench.ratios
class Ratios(unittest.TestCase):
    def test_median_and_quartiles_are_those_of_the_values(self):
        self.assertEqual(estimate(dict(enumerate([5, 1, 4, 2, 3]))), Estimate(3, 2, 4))

    def test_a_ratio_is_of_values_of_the_same_moment_only(self):
        self.assertEqual(ratios.quotients({1: 4, 2: 6}, {2: 3, 3: 1}), {2: 2})

    def test_the_best_is_chosen_anew_at_each_moment(self):
        samples = Samples()
        for moment, rates in enumerate(((12, 4, 5), (12, 6, 3))):
            for lock, rate in zip(("heirlock", "glibc-robust", "boost"), rates):
                samples.add("pair", lock, moment, 0, {"operations_per_second": rate})
        self.assertEqual(list(ratios.against_best(samples, PAIR).values()), [12 / 5, 12 / 6])

    def test_the_geometric_mean_goes_over_rows(self):
        self.assertAlmostEqual(ratios.geometric_mean({"a": {1: 2.0}, "b": {1: 8.0}})[1], 4)

    def test_a_target_is_reached_at_its_limit_and_missed_beyond(self):
        for ours, verdict in ((12, "reached"), (13, "MISSED")):
            found = {one.name: one for one in ratios.targets(samples_of(PAIR, heirlock=[ours] * 3, glibc_robust=[20] * 3), [PAIR])}
            self.assertEqual(found["uncontended pair / glibc recursive robust shared"].verdict, verdict)
            self.assertEqual(found["uncontended pair / std::recursive_mutex"].verdict, "not measured")

    def test_one_row_beyond_the_limit_misses_the_target(self):
        found = ratios.worst_row("worst", AT_LEAST, {Row("contended", "processes", 2): {1: 1.5}, Row("contended", "processes", 64): {1: 0.75}}, 0.95)
        self.assertEqual((found.verdict, found.estimate.median), ("MISSED", 0.75))
        self.assertRegex(found.remark, "64 processes.*; 1 of 2 rows")


# Spec: bench.check
class Bounds(unittest.TestCase):
    def is_worse(self, ours, bound, noise, sense=AT_MOST):
        return ratios.complaint(Ratio("pair", sense, dict(enumerate(ours))), {sense: bound, "noise": noise}) is not None

    def test_what_exceeds_its_bound_by_more_than_the_noise_is_worse(self):
        self.assertTrue(self.is_worse([1.2, 1.2, 1.2], 1.0, 0.1))

    def test_the_noise_of_both_runs_excuses(self):
        self.assertFalse(self.is_worse([1.0, 1.2, 1.4], 1.0, 0.1))
        self.assertFalse(self.is_worse([1.2, 1.2, 1.2], 1.0, 0.3))

    def test_what_is_to_be_large_is_worse_when_it_is_small(self):
        self.assertTrue(self.is_worse([1.2] * 3, 1.5, 0.1, AT_LEAST))
        self.assertFalse(self.is_worse([1.8] * 3, 1.5, 0.1, AT_LEAST))


# Spec: bench.ratios
class Rounds(unittest.TestCase):
    def test_order_is_random_but_the_locks_of_a_row_stay_together(self):
        with contextlib.redirect_stderr(io.StringIO()):
            order = [name for _, name in rounds.in_order([["a1", "a2"], ["b1", "b2"]], seed=1, seconds=0, rounds=8)]
        self.assertEqual(len(order), 32)
        self.assertTrue(all(order[i][0] == order[i + 1][0] for i in range(0, 32, 2)), order)
        self.assertEqual(len({order[i] for i in range(0, 32, 4)}), 4, order)

    # Spec: bench.complete
    def test_a_program_that_hangs_is_ended_with_all_that_it_started(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pipe = pathlib.Path(folder.name) / "pipe"
        os.mkfifo(pipe)
        began, reader = time.monotonic(), os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        with self.assertRaisesRegex(subprocess.TimeoutExpired, "timed out"):
            rounds.run(["sh", "-c", f"exec 3>{pipe}; sleep 90 & exec sleep 90"], limit=1)
        os.set_blocking(reader, True)
        self.assertEqual(os.read(reader, 1), b"")  # after all that had the other end
        self.assertLess(time.monotonic() - began, 60)


# Spec: bench.ratios
class Readings(unittest.TestCase):
    def test_each_row_has_a_name_of_its_own(self):
        rows = bench.rows_of(plan.groups_of("full", plan.Programs("operations", "parties", 700)))
        self.assertEqual(len({row.name for row in rows}), len(rows))

    def test_google_benchmark_is_read_with_its_units_and_arguments(self):
        results = [{"run_name": name, "time_unit": unit, "real_time": 2} for name, unit in (
            ("floor/floor-syscall", "ns"), ("pair/sem", "us"), ("held/heirlock/1", "ms"), ("held/heirlock/2000", "ms"))]
        rows = [PAIR, Row("held", held=1), Row("held", held=2000)]
        read = [(row, lock, values["ns"]) for row, lock, _, values in plan.read_google(json.dumps({"benchmarks": results}), rows)]
        self.assertEqual(read, [(PAIR, "floor-syscall", 2), (PAIR, "sem", 2e3), (rows[1], "heirlock", 2e6), (rows[2], "heirlock", 2e6)])

    # Spec: bench.complete
    def test_a_benchmark_that_reports_an_error_gives_no_value(self):
        result = {"name": "try-held/sem", "error_occurred": True, "error_message": "the lock is free"}
        with self.assertRaisesRegex(ValueError, "the lock is free"):
            list(plan.read_google(json.dumps({"benchmarks": [result]}), [PAIR]))


# Spec: bench.ratios
class Texts(unittest.TestCase):
    def test_values_have_the_unit_that_fits(self):
        self.assertEqual([report.with_unit(value, report.TIMES) for value in (1.234, 12.34, 999.4, 999.7, 1.5e6, 2e9)],
                         ["1.23 ns", "12.3 ns", "999 ns", "1.00 us", "1.50 ms", "2.00 s"])

    def test_a_ratio_shows_half_the_distance_of_its_quartiles(self):
        self.assertEqual(report.ratio_of(Estimate(0.5, 0.4, 0.7)), "0.50 ±0.15")

    def test_a_ratio_that_says_nothing_certain_is_not_shown(self):
        samples = samples_of(PAIR, heirlock=[10, 10, 10], sem=[20, 20, 20], boost=[10, 20, 100])
        self.assertEqual([report.with_ratio(samples, PAIR, lock, "ns") for lock in ("sem", "boost")], ["20.0 ns (0.50)", "20.0 ns (?)"])


class Driver(unittest.TestCase):
    """From end to end, with one row."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output = pathlib.Path(folder.name)
        self.bounds = self.output / "bounds.json"

    def bench(self, *arguments, failing=None, **nanoseconds):
        def measurement(lock, ns):
            return Measurement((PAIR,), ("false",) if lock == failing else ("echo", json.dumps({"lock": lock, "values": {"ns": ns}})),
                               plan.read_lines, lock)

        costs = {"heirlock": 10, "glibc-robust": 20, "boost": 14, **{lock.replace("_", "-"): ns for lock, ns in nanoseconds.items()}}
        printed = io.StringIO()
        with mock.patch.multiple(bench, build=lambda: None, BOUNDS=self.bounds), mock.patch.multiple(rounds, versions=lambda *_: {"kernel": "6.1"}, busy_processors=lambda: 0), \
                mock.patch.object(plan, "groups_of", lambda *_: [[measurement(*cost) for cost in costs.items()]]), \
                contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = bench.main(["--rounds", "3", "--output", str(self.output), *arguments])
        return status, printed.getvalue()

    # Spec: bench.check
    def test_check_fails_when_heirlock_and_not_when_a_rival_is_slow(self):
        self.assertEqual(self.bench("--set-bounds")[0], 0)
        self.assertEqual(self.bench("--check")[0], 0)
        self.assertEqual(self.bench("--check", glibc_robust=50)[0], 0)
        status, text = self.bench("--check", heirlock=15)
        self.assertEqual(status, 1)
        self.assertIn("measuring again", text)
        self.assertIn("WORSE: pair: heirlock / glibc-robust is 0.750, its bound at most 0.500; noise explains 0.000", text)
        self.assertEqual(self.bench("--check", "--from", str(self.output / "results.json"))[0], 1)

    # Spec: bench.check
    def test_what_is_not_worse_again_passes(self):
        self.bench("--set-bounds")
        with mock.patch.object(rounds, "measure", mock.Mock(side_effect=[
                (samples_of(PAIR, heirlock=[15] * 3, glibc_robust=[20] * 3), []), (samples_of(PAIR, heirlock=[10] * 3, glibc_robust=[20] * 3), [])])):
            self.assertEqual(self.bench("--check")[0], 0)

    # Spec: bench.check
    def test_a_check_without_any_bound_fails(self):
        self.bounds.write_text('{"set": "", "on": "", "bounds": {}}')
        self.assertEqual(self.bench("--check")[0], 1)

    # Spec: bench.complete
    def test_a_measurement_that_fails_is_reported_and_the_rest_is_measured(self):
        status, text = self.bench(failing="boost")
        self.assertEqual(status, 1, text)
        self.assertRegex(text, r"FAILED: pair, boost: .*exit status 1.*\n +again with: false")
        self.assertRegex(text, r"uncontended pair / glibc recursive robust shared +at most 0.6 +0.50 ±0.00 +reached")


if __name__ == "__main__":
    unittest.main()
