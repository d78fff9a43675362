#!/usr/bin/env python3
"""What ci/bench makes of the measurements: stand-ins take the place of the programs that measure."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml

import plan
import rounds
import samples as made
import targets
from tables import ratio_of, time_and_ratio, time_of

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = plan.Programs(pathlib.Path("operations"), pathlib.Path("parties"), pathlib.Path("python"), 700)

# Each prints what the real one would. SLOW=LOCK has that lock take twice the time, FAIL=LOCK has its runs fail, HANG=PIPE has all
# of them hang with the pipe open.
COMMON = f"""#!{sys.executable} -IS
import json, os, re, sys, time
COST = {{"heirlock": 10, "lockable": 11, "glibc-robust": 20, "glibc": 15, "std-recursive": 12, "std-recursive-timed": 12, "boost": 14,
        "sem": 13, "floor-cas-exchange": 9, "floor-syscall": 100, "floor-switch": 900, "python-rlock": 70, "heirlock-python": 35}}
def cost(lock, repetition=0):
    if os.environ.get("FAIL") == lock:
        sys.exit("no such luck")
    if "HANG" in os.environ:
        with open(os.environ["HANG"], "w"):
            time.sleep(300)
    return COST[lock] * (1 + repetition / 1000) * (2 if os.environ.get("SLOW") == lock else 1)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
"""
OPERATIONS = COMMON + """
wanted = next(re.compile(word.partition("=")[2]) for word in sys.argv if word.startswith("--benchmark_filter="))
names = [f"{case}/{lock}" for case in ("pair", "nested", "try-held", "timed", "create", "open") for lock in COST
         if lock not in ("python-rlock", "heirlock-python", "floor-syscall", "floor-switch")]
names += [f"held/{lock}/{n}" for lock in ("heirlock", "glibc-robust") for n in (1, 10, 100, 1000, 2000)] + ["floor/floor-syscall"]
results = [{"name": name, "run_name": name, "run_type": kind, "repetition_index": i, "time_unit": "us",
            "real_time": cost(name.split("/")[1], i) / 1000} for name in names if wanted.search(name)
           for i, kind in ((0, "iteration"), (1, "iteration"), (2, "iteration"), (0, "aggregate"))]
print(json.dumps({"benchmarks": results}))
"""
PARTIES = COMMON + """
case, lock = sys.argv[1], options.get("--lock", sys.argv[1])
if case == "speed":
    print(json.dumps({"case": "speed", "values": {"steps_per_microsecond": 700}}))
    sys.exit()
if case == "contended" and options["--speed"] != "700":
    sys.exit("found another speed than that which was measured")
ns = cost(lock)
values = {"contended": {"operations_per_second": 1e9 / ns, "cpu_ns_per_operation": ns, "syscalls_per_operation": None,
                        "fairness": 0.5 + ns / 1000, "wait_p50_ns": ns, "wait_p99_ns": 9 * ns, "wait_max_ns": 99 * ns,
                        "free_p50_ns": ns, "free_p99_ns": ns, "free_p999_ns": ns, "free_max_ns": ns},
          "kill": {"heir_p50_ns": ns * 1e3, "heir_p99_ns": ns * 2e3}}
turns = {"handover_p50_ns": ns, "handover_p99_ns": 2 * ns}
reason = {"no_syscalls_because": "the stand-in cannot count"} if case == "contended" else {}
print(json.dumps({"case": case, "lock": lock, "values": values.get(case, turns), **reason}))
"""
PYTHON = COMMON + """
for lock in "python-rlock", "heirlock-python":
    values = {"operations_per_second": 1e9 / cost(lock)} if sys.argv[1] == "increment" else {"ns": cost(lock)}
    print(json.dumps({"case": sys.argv[1], "lock": lock, "repetition": 0, "values": values}))
"""


def samples_of(values):
    """From {(row, lock): [value of each round]}, of the metric ns."""
    samples = made.Samples()
    for (row, lock), series in values.items():
        for moment, value in enumerate(series):
            samples.add(row, lock, (moment, 0), {"ns": value})
    return samples


# Spec: bench.ratios
class Estimates(unittest.TestCase):
    def test_the_median_and_the_quartiles_are_those_of_the_values(self):
        self.assertEqual(made.estimate([5, 1, 4, 2, 3]), made.Estimate(3, 2, 4, 5))

    def test_a_ratio_is_of_values_of_the_same_moment_only(self):
        self.assertEqual(made.ratios({1: 4, 2: 6}, {2: 3, 3: 1}), {2: 2})

    def test_the_best_is_chosen_anew_at_each_moment(self):
        self.assertEqual(made.best_of([{1: 4, 2: 6}, {1: 5, 2: 3}]), {1: 5, 2: 6})

    def test_the_geometric_mean_goes_over_rows(self):
        self.assertAlmostEqual(made.geometric_mean_of([{1: 2.0}, {1: 8.0}])[1], 4)


# Spec: bench.ratios
class Targets(unittest.TestCase):
    def verdicts(self, **nanoseconds):
        names = {lock.replace("_", "-"): [value] * 3 for lock, value in nanoseconds.items()}
        samples = samples_of({("pair", lock): values for lock, values in names.items()})
        return {target.name: target.verdict for target in targets.targets(samples, [plan.Row("pair")])}

    def test_at_the_limit_a_target_is_reached(self):
        self.assertEqual(self.verdicts(heirlock=12, glibc_robust=20)["uncontended pair / glibc recursive robust shared"], "reached")

    def test_beyond_the_limit_a_target_is_missed(self):
        self.assertEqual(self.verdicts(heirlock=13, glibc_robust=20)["uncontended pair / glibc recursive robust shared"], "MISSED")

    def test_what_was_not_measured_is_neither(self):
        self.assertEqual(self.verdicts(heirlock=13)["uncontended pair / glibc recursive robust shared"], "not measured")

    def test_one_row_below_the_best_rival_misses_the_target(self):
        samples, rows = made.Samples(), [plan.Row("contended", "processes", parties) for parties in (2, 64)]
        for row, ours in zip(rows, (30, 15)):
            for lock, rate in (("heirlock", ours), ("glibc-robust", 10), ("boost", 20)):
                samples.add(row.name, lock, (0, 0), {"operations_per_second": rate})
        target = targets.worst_row(samples, "worst row", targets.AT_LEAST, 0.95, {row: targets.against_best(samples, row) for row in rows})
        self.assertEqual((target.verdict, target.reached.median), ("MISSED", 0.75))
        self.assertIn("64 processes", target.remark)


# Spec: bench.check
class Bounds(unittest.TestCase):
    def judged(self, ours, bound, noise, sense=targets.AT_MOST):
        quotient = targets.Quotient("pair", sense, dict(enumerate(ours)))
        return targets.judge([quotient], {"bounds": {"pair": {sense: bound, "noise": noise}}})[0]

    def test_what_exceeds_its_bound_by_more_than_the_noise_is_worse(self):
        self.assertTrue(self.judged([1.2, 1.2, 1.2], 1.0, 0.1).is_worse)

    def test_noise_of_this_run_excuses(self):
        self.assertFalse(self.judged([1.0, 1.2, 1.4], 1.0, 0.1).is_worse)

    def test_noise_of_the_run_that_set_the_bound_excuses(self):
        self.assertFalse(self.judged([1.2, 1.2, 1.2], 1.0, 0.3).is_worse)

    def test_what_is_to_be_large_is_worse_when_it_is_small(self):
        self.assertTrue(self.judged([1.2] * 3, 1.5, 0.1, targets.AT_LEAST).is_worse)
        self.assertFalse(self.judged([1.8] * 3, 1.5, 0.1, targets.AT_LEAST).is_worse)


# Spec: bench.ratios
class Rounds(unittest.TestCase):
    def groups(self):
        def measurement(name):
            return plan.Measurement((plan.Row(name[0]),), ("true",), lambda text: [(plan.Row(name[0]), name, 0, {"ns": 1})], name)
        return [[measurement("a1"), measurement("a2")], [measurement("b1"), measurement("b2")]]

    def order(self, seed):
        samples = made.Samples()
        rounds.Rounds(self.groups(), samples, seed).measure(0, rounds=8)
        return [record["lock"] for record in samples.records]

    def test_the_measurements_of_a_group_stand_next_to_each_other(self):
        order = self.order(1)
        self.assertTrue(all(order[i][0] == order[i + 1][0] for i in range(0, len(order), 2)), order)

    def test_groups_and_what_is_in_them_come_in_changing_order(self):
        order = self.order(1)
        self.assertEqual(len({order[i] for i in range(0, len(order), 4)}), 4, order)

    def test_a_program_that_hangs_is_ended_with_all_that_it_started(self):
        began = time.monotonic()
        with self.assertRaisesRegex(rounds.Failed, "still running"):  # the first sleep, if it lived on, would keep the pipe open
            rounds.run(["sh", "-c", "sleep 90 & exec sleep 90"], limit=0.2)
        self.assertLess(time.monotonic() - began, 60)

    # Spec: bench.complete
    def test_a_run_that_fails_is_recorded_with_its_message(self):
        failing = plan.Measurement((plan.Row("pair"),), ("sh", "-c", "echo no room >&2; exit 3"), lambda text: [], "sem")
        measured = rounds.Rounds([[failing]], made.Samples(), 1)
        measured.measure(0, rounds=1)
        self.assertIn("exit status 3, expected 0: no room", measured.failures[0]["message"])


# Spec: bench.ratios
class Outputs(unittest.TestCase):
    def test_each_row_has_a_name_of_its_own(self):
        rows = {row for group in plan.groups_of(plan.FULL, PROGRAMS) for one in group for row in one.rows}
        self.assertEqual(len({row.name for row in rows}), len(rows))

    def test_what_google_benchmark_measured_is_read_in_nanoseconds_whatever_its_unit(self):
        results = [{"run_name": "pair/sem", "time_unit": unit, "real_time": 2} for unit in ("ns", "us", "ms")]
        read = list(plan.read_operations(json.dumps({"benchmarks": results}), [plan.Row("pair")]))
        self.assertEqual([values["ns"] for _, _, _, values in read], [2, 2e3, 2e6])

    def test_the_number_of_held_locks_tells_which_row_it_is(self):
        result = {"run_name": "held/heirlock/2000", "time_unit": "ns", "real_time": 2, "repetition_index": 1}
        rows = [plan.Row("held", held=1), plan.Row("held", held=2000)]
        read = list(plan.read_operations(json.dumps({"benchmarks": [result]}), rows))
        self.assertEqual(read, [(rows[1], "heirlock", 1, {"ns": 2})])

    def test_a_benchmark_that_reports_an_error_gives_no_value(self):
        result = {"name": "pair/sem", "error_occurred": True, "error_message": "found the lock free"}
        with self.assertRaisesRegex(ValueError, "found the lock free"):
            list(plan.read_operations(json.dumps({"benchmarks": [result]}), [plan.Row("pair")]))


# Spec: bench.ratios
class Texts(unittest.TestCase):
    def test_times_have_the_unit_that_fits(self):
        self.assertEqual([time_of(value) for value in (None, 1.234, 12.34, 999.4, 999.7, 1.5e6, 2e9)],
                         ["-", "1.23 ns", "12.3 ns", "999 ns", "1.00 us", "1.50 ms", "2.00 s"])

    def test_a_ratio_shows_half_the_distance_of_its_quartiles(self):
        self.assertEqual(ratio_of(made.Estimate(0.5, 0.4, 0.7, 9)), "0.50 ±0.15")

    def test_a_ratio_that_says_nothing_certain_is_not_shown(self):
        samples = samples_of({("pair", "heirlock"): [10, 10, 10], ("pair", "sem"): [20, 20, 20], ("pair", "boost"): [10, 20, 100]})
        self.assertEqual([time_and_ratio(samples, plan.Row("pair"), lock, "ns") for lock in ("sem", "boost")], ["20.0 ns (0.50)", "20.0 ns (?)"])


class Bench(unittest.TestCase):
    """The driver, from end to end."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name, text in (("heirlock-bench-operations", OPERATIONS), ("heirlock-bench-parties", PARTIES)):
            (cls.folder / name).write_text(text)
            (cls.folder / name).chmod(0o755)
        (cls.folder / "python_rlock.py").write_text(PYTHON)
        cls.bounds = cls.folder / "bounds.json"
        cls.output = cls.folder / "output"
        status, cls.text = cls.run_it("--quick", "--rounds", "1", "--seed", "5", "--set-bounds", "--programs", cls.folder)
        if status != 0:
            raise AssertionError(cls.text)
        cls.results = cls.output / "results.json"

    @classmethod
    def run_it(cls, *arguments, output=None, **environment):
        done = subprocess.run([sys.executable, "-B", HERE / "bench.py", "--output", output or cls.output, "--bounds", cls.bounds, *arguments],
                              env={**os.environ, **environment}, text=True, capture_output=True,
                              check=False)
        return done.returncode, done.stdout + done.stderr

    # Spec: bench.ratios
    def test_targets_and_what_was_reached_stand_side_by_side(self):
        self.assertRegex(self.text, r"uncontended pair / glibc recursive robust shared +at most 0.6 +0.50 ±0.00 +reached")
        self.assertRegex(self.text, r"nested pair / glibc recursive robust shared +at most 0.15 +0.50 ±0.00 +MISSED")
        self.assertRegex(self.text, r"python with / multiprocessing.RLock +at most 0\.5 +0.50 ±0.00 +reached")
        self.assertRegex(self.text, r"python increment, 8 processes, throughput / multiprocessing.RLock +at least 2\.0 +2\.00 ±0.00 +reached")

    def test_each_chart_that_results_md_shows_is_there_and_is_svg(self):
        if not shutil.which("gnuplot"):
            self.skipTest("found no gnuplot, expected one to draw the charts")
        names = re.findall(r"\]\((charts/.*?\.svg)\)", (self.output / "RESULTS.md").read_text())
        self.assertEqual(len(names), 2)
        for name in names:
            self.assertTrue(xml.parse(self.output / name).getroot().tag.endswith("svg"), name)

    def test_old_results_give_the_same_text_again(self):
        again = self.run_it("--from", self.results, output=self.folder / "again")[1]
        self.assertEqual(again.split("\nresults:")[0].strip().splitlines()[0], "Operations nobody waits for")
        self.assertIn(again.split("\nresults:")[0].strip(), self.text)

    # Spec: bench.check
    def test_a_run_that_is_as_good_as_its_bounds_passes_the_check(self):
        status, text = self.run_it("--check", "--from", self.results, output=self.folder / "again")
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"PASSED: \d\d ratios are no worse")

    # Spec: bench.check
    def test_a_lock_that_became_slow_fails_the_check_after_a_second_look(self):
        status, text = self.run_it("--check", "--rounds", "1", "--programs", self.folder, output=self.folder / "slow", SLOW="heirlock")
        self.assertEqual(status, 1, text)
        self.assertIn("measuring again", text)
        self.assertRegex(" ".join(text.split()), r"WORSE: pair: heirlock / glibc-robust: found 1\.\d+, expected at most 0\.\d+, and noise explains")
        self.assertRegex(text, r"FAILED: \d+ of \d+ ratios are worse than their bounds")

    # Spec: bench.check
    def test_a_rival_that_became_slow_does_not_fail_the_check(self):
        status, text = self.run_it("--check", "--rounds", "1", "--programs", self.folder, output=self.folder / "rival", SLOW="glibc-robust")
        self.assertEqual(status, 0, text)

    # Spec: bench.complete
    def test_a_measurement_that_fails_is_reported_and_the_rest_is_measured(self):
        status, text = self.run_it("--quick", "--rounds", "1", "--programs", self.folder, output=self.folder / "failed", FAIL="boost")
        self.assertEqual(status, 1, text)
        self.assertRegex(text, r"FAILED: kill, boost|FAILED: ping-pong, boost: found the exit status 1, expected 0: no such luck\n +again with: ")
        self.assertRegex(text, r"acquire with 2,000 locks held / with 1 +at most 1.1 +")

    def test_a_signal_ends_what_is_under_way_and_leaves_no_results(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            pipe, output = self.folder / f"pipe{status}", self.folder / f"output{status}"
            os.mkfifo(pipe)
            with subprocess.Popen([sys.executable, "-B", HERE / "bench.py", "--quick", "--programs", self.folder, "--output", output],
                                  env={**os.environ, "HANG": str(pipe)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as driver:
                with open(pipe, encoding="utf-8") as other_end:
                    driver.send_signal(number)
                    self.assertEqual(other_end.read(), "")  # the one that hung is gone
                driver.communicate()
            self.assertEqual(driver.returncode, status)
            self.assertFalse(output.exists())


if __name__ == "__main__":
    unittest.main()
