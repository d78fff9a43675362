#!/usr/bin/env python3
"""The measuring programs, each case for a moment: programs_test.py OPERATIONS PARTIES."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

OPERATIONS, PARTIES = sys.argv[1:3]
PYTHON = [sys.executable, str(pathlib.Path(__file__).resolve().parent / "python_rlock.py")]
BETWEEN_PROCESSES = ["heirlock", "lockable", "glibc-robust", "glibc", "sem"]
ROBUST = ["heirlock", "lockable", "glibc-robust"]


def parties(*arguments):
    result = subprocess.run([PARTIES, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise AssertionError(f"{arguments}: found status {result.returncode}, expected 0: {result.stderr}")
    return json.loads(result.stdout)


def contended(*arguments):
    """A run that had a processor: on a busy machine one may pass without an operation of each kind."""
    for _ in range(20):
        result = parties("contended", *arguments, "--seconds", 0.1)
        is_whole = None not in result["values"].values() or "no_syscalls_because" in result
        if result["operations"] > 100 and is_whole:
            break
    return result


# Spec: bench.json
class Contended(unittest.TestCase):
    def check(self, result):
        values = result["values"]
        self.assertGreater(values["operations_per_second"], 100)
        self.assertGreater(values["cpu_ns_per_operation"], 1)
        self.assertTrue(0 <= values["fairness"] <= 1, values)
        self.assertTrue(0 < values["wait_p50_ns"] <= values["wait_p99_ns"] <= values["wait_max_ns"] < 60e9, values)
        self.assertTrue(0 < values["free_p50_ns"] <= values["free_p999_ns"] <= values["free_max_ns"] < 60e9, values)
        if values["syscalls_per_operation"] is None:
            self.assertIn("no_syscalls_because", result)
        else:
            self.assertTrue(0 <= values["syscalls_per_operation"] < 1000, values)

    def test_every_lock_between_processes_is_measured(self):
        for lock in BETWEEN_PROCESSES:
            with self.subTest(lock=lock):
                result = contended("--lock", lock, "--processes", 4)
                self.assertEqual((result["lock"], result["kind"], result["parties"]), (lock, "processes", 4))
                self.check(result)

    def test_every_lock_between_threads_is_measured(self):
        for lock in [*BETWEEN_PROCESSES, "std-recursive"]:
            with self.subTest(lock=lock):
                result = contended("--lock", lock, "--threads", 4, "--pinned", "--section", 1000, "--outside", 1000)
                self.assertEqual((result["kind"], result["section"], result["outside"], result["pinned"]),
                                 ("threads", 1000, 1000, True))
                self.check(result)

    def test_a_section_takes_as_long_as_it_is_to_take(self):
        values = parties("contended", "--lock", "heirlock", "--processes", 1, "--section", 100_000)["values"]
        self.assertLess(values["operations_per_second"], 20_000)  # a processor may have become faster meanwhile
        self.assertGreater(values["cpu_ns_per_operation"], 50_000)

    def test_a_section_is_as_many_steps_as_the_given_speed_says(self):
        steps = parties("speed")["values"]["steps_per_microsecond"]
        self.assertTrue(10 < steps < 10_000, steps)
        slow = parties("contended", "--lock", "heirlock", "--processes", 1, "--section", 100_000, "--speed", steps * 4)
        self.assertGreater(slow["values"]["cpu_ns_per_operation"], 250_000)

    def test_a_party_alone_makes_no_system_call(self):
        for lock in BETWEEN_PROCESSES:
            with self.subTest(lock=lock):
                calls = parties("contended", "--lock", lock, "--processes", 1)["values"]["syscalls_per_operation"]
                self.assertIn(calls, (0, None))

    def test_parties_that_wait_long_make_system_calls(self):
        for lock in BETWEEN_PROCESSES:
            with self.subTest(lock=lock):
                values = parties("contended", "--lock", lock, "--processes", 2, "--section", 200_000)["values"]
                if values["syscalls_per_operation"] is not None:
                    self.assertGreater(values["syscalls_per_operation"], 0.01)


# Spec: bench.json
class TwoParties(unittest.TestCase):
    def test_every_lock_is_handed_over(self):
        for pinned in [[], ["--pinned", "same"], ["--pinned", "apart"]]:
            for which in [["ping-pong", "--lock", lock] for lock in BETWEEN_PROCESSES] + [["floor-switch"]]:
                with self.subTest(which=which, pinned=pinned):
                    values = parties(*which, "--times", 500, *pinned)["values"]
                    self.assertTrue(10 < values["handover_p50_ns"] <= values["handover_p99_ns"]
                                    <= values["handover_max_ns"] < 60e9, values)
                    self.assertGreaterEqual(values["ns_per_handover"], 10)

    def test_threads_hand_over_what_processes_cannot(self):
        result = parties("ping-pong", "--lock", "std-recursive", "--threads", 2, "--times", 500)
        self.assertEqual(result["kind"], "threads")

    def test_the_heir_of_a_killed_owner_comes_inside(self):
        for lock in ROBUST:
            with self.subTest(lock=lock):
                values = parties("kill", "--lock", lock, "--times", 10)["values"]
                self.assertTrue(1000 < values["heir_p50_ns"] <= values["heir_p99_ns"]
                                <= values["heir_max_ns"] < 60e9, values)


# Spec: bench.json
class Memory(unittest.TestCase):
    def test_a_lock_in_a_row_takes_its_size(self):
        for lock in ["heirlock", "glibc-robust", "glibc", "std-recursive", "sem"]:
            with self.subTest(lock=lock):
                values = parties("memory", "--lock", lock, "--locks", 100_000)["values"]
                self.assertAlmostEqual(values["resident_bytes_per_lock"], values["sizeof_bytes"], delta=2)

    def test_a_lock_of_heirlock_is_40_bytes(self):
        self.assertEqual(parties("memory", "--lock", "heirlock", "--locks", 1)["values"]["sizeof_bytes"], 40)

    def test_a_lockable_takes_a_page(self):
        values = parties("memory", "--lock", "lockable", "--locks", 1000)["values"]
        self.assertGreater(values["resident_bytes_per_lock"], 4096)


class Refused(unittest.TestCase):
    def check(self, arguments, *words):
        with self.subTest(arguments=arguments):
            result = subprocess.run([PARTIES, *arguments.split()], capture_output=True, text=True, timeout=60)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            for word in [*words, "found", "expected"]:
                self.assertIn(word, result.stderr)

    # Spec: bench.json
    def test_a_case_that_a_lock_has_no_part_in(self):
        self.check("contended --lock std-recursive --processes 2", "std-recursive", "--threads")
        self.check("kill --lock sem", "sem", "robust")
        self.check("memory --lock lockable --locks 1000000", "30000")

    def test_a_bad_option(self):
        self.check("contended --lock nonsense", "nonsense", "heirlock")
        self.check("nonsense --lock heirlock", "nonsense", "contended")
        self.check("contended --lock heirlock --processes 0", "--processes", "'0'")
        self.check("contended --lock heirlock --seconds soon", "--seconds", "'soon'")
        self.check("contended --lock heirlock --section", "--section", "no value")
        self.check("contended --lock heirlock --nonsense 1", "--nonsense")
        self.check("ping-pong --lock heirlock --pinned nowhere", "--pinned", "nowhere")
        self.check("ping-pong --lock heirlock --processes 3", "2")


# Spec: bench.json
class Operations(unittest.TestCase):
    def run_all(self, *arguments):
        text = subprocess.run([OPERATIONS, "--benchmark_format=json", "--benchmark_min_time=0.001", *arguments],
                              capture_output=True, text=True, timeout=120, check=True).stdout
        return json.loads(text)

    def test_every_case_is_measured(self):
        found = self.run_all("--benchmark_filter=-boost")["benchmarks"]
        self.assertEqual([run["name"] for run in found if run.get("error_occurred")], [])
        for run in found:
            self.assertTrue(0.1 < run["real_time"] < 1e8, run)
        names = {run["name"] for run in found}
        for lock in BETWEEN_PROCESSES:
            self.assertLessEqual({f"{case}/{lock}" for case in ("pair", "try-held", "timed", "create")}, names)
            self.assertEqual(f"nested/{lock}" in names, lock != "sem")
            self.assertEqual(f"held/{lock}/2000" in names, lock in ROBUST)
        self.assertLessEqual({"pair/std-recursive", "nested/std-recursive", "timed/std-recursive-timed",
                              "pair/floor-cas-exchange", "pair/floor-reentrant", "floor/floor-syscall", "open/heirlock", "open/lockable",
                              "open/glibc-robust", "open/sem"}, names)

    def test_the_context_says_whether_it_was_pinned(self):
        for arguments, pinned in ([], "false"), (["--pinned"], "true"):
            context = self.run_all("--benchmark_filter=pair/heirlock", *arguments)["context"]
            self.assertEqual(context["pinned"], pinned)

    def test_nothing_is_left_in_dev_shm(self):
        before = set(pathlib.Path("/dev/shm").glob("*bench*"))
        self.run_all("--benchmark_filter=open/")
        self.assertEqual(set(pathlib.Path("/dev/shm").glob("*bench*")) - before, set())


# Spec: bench.json
class Python(unittest.TestCase):
    def test_each_repetition_is_a_line_of_json(self):
        for case in "pair", "with", "nested", "method", "increment":
            lines = subprocess.run([*PYTHON, case, "--repetitions", "3", "--seconds", "0.02"], capture_output=True, text=True,
                                   check=True).stdout
            results = [json.loads(line) for line in lines.splitlines()]
            locks = ["python-rlock", *(["heirlock-python"] if "PYTHONPATH" in os.environ else [])]
            self.assertCountEqual([(run["case"], run["lock"], run["repetition"]) for run in results],
                                  [(case, lock, repetition) for lock in locks for repetition in range(3)])
            for run in results:
                value, = run["values"].values()
                self.assertTrue(1 < value < 1e9, run)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
