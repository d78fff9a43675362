#!/usr/bin/env python3
"""The measuring programs, each case for a moment: programs_test.py OPERATIONS PARTIES."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

OPERATIONS, PARTIES = sys.argv[1:3]
PYTHON = pathlib.Path(__file__).resolve().parent / "python_rlock.py"
ROBUST = ["heirlock", "lockable", "glibc-robust"]
BETWEEN_PROCESSES = [*ROBUST, "glibc", "sem"]


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit status {done.returncode}: {done.stderr}")
    return done.stdout


def parties(*arguments):
    return json.loads(run(PARTIES, *arguments))["values"]


# Spec: bench.json
class Programs(unittest.TestCase):
    def test_every_lock_is_measured_between_processes_and_threads(self):
        for kind, locks in (("--processes", BETWEEN_PROCESSES), ("--threads", [*BETWEEN_PROCESSES, "std-recursive"])):
            for lock in locks:
                with self.subTest(kind=kind, lock=lock):
                    for _ in range(20):  # on a busy machine a run may pass without an operation of each kind
                        values = parties("contended", "--lock", lock, kind, 4, "--seconds", 0.1)
                        if values["operations_per_second"] > 100 and None not in (values["wait_p50_ns"], values["free_p50_ns"]):
                            break
                    self.assertGreater(values["cpu_ns_per_operation"], 1)
                    self.assertTrue(0 <= values["fairness"] <= 1, values)
                    self.assertTrue(0 < values["wait_p50_ns"] <= values["wait_p99_ns"] <= values["wait_max_ns"] < 60e9, values)
                    self.assertTrue(0 < values["free_p50_ns"] <= values["free_p999_ns"] <= values["free_max_ns"] < 60e9, values)

    def test_a_section_takes_as_long_as_it_is_to_take(self):
        values = parties("contended", "--lock", "heirlock", "--processes", 1, "--section", 100_000)
        self.assertLess(values["operations_per_second"], 20_000)  # a processor may have become faster meanwhile
        self.assertGreater(values["cpu_ns_per_operation"], 50_000)

    def test_system_calls_are_counted_of_who_waits_and_not_of_who_is_alone(self):
        for lock in BETWEEN_PROCESSES:
            with self.subTest(lock=lock):
                alone = parties("contended", "--lock", lock, "--processes", 1)["syscalls_per_operation"]
                if alone is not None:  # null where only root may count them
                    self.assertEqual(alone, 0)
                    waiting = (parties("contended", "--lock", lock, "--processes", 2, "--section", 200_000) for _ in range(10))
                    self.assertTrue(any((each["syscalls_per_operation"] or 0) > 0.01 for each in waiting))  # on a busy machine they may not meet

    def test_every_lock_is_handed_over(self):
        for pinned in [], ["--pinned", "same"], ["--pinned", "apart"]:
            for lock in [*BETWEEN_PROCESSES, "floor-switch"]:
                with self.subTest(lock=lock, pinned=pinned):
                    values = parties("ping-pong", "--lock", lock, "--times", 500, *pinned)
                    self.assertTrue(10 < values["handover_p50_ns"] <= values["handover_p99_ns"] <= values["handover_max_ns"] < 60e9, values)

    def test_the_heir_of_a_killed_owner_comes_inside(self):
        for lock in ROBUST:
            with self.subTest(lock=lock):
                values = parties("kill", "--lock", lock, "--times", 10)
                self.assertTrue(1000 < values["heir_p50_ns"] <= values["heir_p99_ns"] <= values["heir_max_ns"] < 60e9, values)

    def test_a_case_that_a_lock_has_no_part_in_is_refused(self):
        for arguments, why in (("contended --lock std-recursive --processes 2", "--threads"), ("kill --lock sem", "not robust"),
                               ("ping-pong --lock glibc --pinned up", "same or apart"), ("contended --lock sem --section x", "'x'"),
                               ("contended --lock none", "'none'"), ("contended --lock sem --sections 1", "'--sections'")):
            done = subprocess.run([PARTIES, *arguments.split()], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))
            self.assertIn(why, done.stderr)

    def test_every_operation_is_measured(self):
        found = json.loads(run(OPERATIONS, "--benchmark_format=json", "--benchmark_min_time=0.001", "--benchmark_filter=-boost"))["benchmarks"]
        for result in found:
            self.assertNotIn("error_message", result)
            self.assertTrue(0.1 < result["real_time"] < 1e8, result)
        wanted = {f"{case}/{lock}" for case in ("pair", "try-held", "timed", "create") for lock in BETWEEN_PROCESSES}
        wanted |= {f"{case}/{lock}" for case in ("nested", "open") for lock in ROBUST}
        wanted |= {f"held/{lock}/{count}" for lock in ROBUST for count in (1, 10, 100, 1000, 2000)}
        wanted |= {f"{case}/std-recursive" for case in ("pair", "nested", "try-held")}
        wanted |= {"nested/glibc", "open/sem", "timed/std-recursive-timed", "pair/floor-cas-exchange", "pair/floor-reentrant", "floor/floor-syscall"}
        self.assertEqual({result["name"] for result in found}, wanted)

    def test_every_lock_of_python_is_measured(self):
        locks = ["python-rlock", *(["heirlock-python"] if "PYTHONPATH" in os.environ else [])]
        for case in "pair", "with", "nested", "method", "increment":
            found = list(map(json.loads, run(sys.executable, PYTHON, case, "--repetitions", 3).splitlines()))
            self.assertCountEqual([(one["lock"], one["repetition"]) for one in found], [(lock, i) for lock in locks for i in range(3)])
            for one in found:
                value, = one["values"].values()
                self.assertTrue(1 < value < 1e9, one)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
