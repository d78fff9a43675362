#!/usr/bin/env python3
"""heirlock-stress as its user sees it: options, verdict, interrupts, every fault, other locks. Argument: the program."""
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time
import unittest

PROGRAM = sys.argv.pop(1)
FAULTS = "kill", "stop", "exit", "fork", "exec", "exec-thread", "timeout", "signal"


def number_in(report, row):
    """-1 if there is no such row."""
    found = re.search(rf"^  {row} +([\d,]+)", report, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else -1


def worker_of(process):
    """A worker, once there is one."""
    children = ""
    while not children:
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return int(children.split()[0])


class Program(unittest.TestCase):
    def start(self, arguments):
        process = subprocess.Popen([PROGRAM, *arguments.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def ends(self, process, status):
        """Returns what it printed."""
        output, errors = process.communicate(timeout=250)
        self.assertEqual(process.returncode, status, output + errors)
        return output

    def run_it(self, arguments, status=0):
        return self.ends(self.start(arguments), status)

    # A run that differs from the one asked for would mislead.
    # Spec: stress.options
    def test_a_bad_option_gives_one_line_and_status_2(self):
        for arguments in ("--processes 0", "--processes 513", "--processes 1.0", "--processes 99999999999999999999",
                          "--processes", "--seconds nan", "--seconds 1s", "--kills-per-second 1,5", "--seed -1",
                          "--seed 18446744073709551616", "--faults kill,", "--faults KILL", "--lock robust", "--lucks 1",
                          "--threads 1 --faults exec-thread", "--threads 64 --processes 65",
                          "--kills-per-second 100 --faults stop", "--faults-per-second 5"):
            with self.subTest(arguments):
                process = self.start(arguments)
                output, errors = process.communicate()
                self.assertEqual((process.returncode, output), (2, ""))
                self.assertRegex(errors, f"^.*{arguments.split()[0]}.*\n$")

    # Spec: stress.seed
    def test_the_first_line_tells_how_to_repeat_the_run(self):
        options = "--processes=2 --seconds 0.1 --locks 2 --seed 18446744073709551615"
        self.assertEqual(self.run_it(options).partition("\n")[0], f"heirlock-stress {options}")
        self.assertRegex(self.run_it("--seconds 0.1"), r"^heirlock-stress --seconds 0.1 --seed \d+\n")

    # Spec: stress.verdict
    def test_a_worker_that_ends_by_itself_fails_the_run(self):
        process = self.start("--processes 2 --seconds 3 --kills-per-second 0")
        os.kill(worker_of(process), signal.SIGILL)
        output = self.ends(process, 1)
        self.assertEqual(number_in(output, "failed workers"), 1)
        self.assertIn("with signal 4 (Illegal instruction)", output)

    # Spec: stress.interrupt
    def test_an_interrupt_ends_the_run_with_its_report(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("--processes 2 --seconds 86400")
            process.stdout.readline()
            process.send_signal(number)
            output = self.ends(process, 0)
            self.assertIn("INTERRUPTED after", output)
            self.assertEqual(number_in(output, "wrong owners"), 0)

    # Spec: stress.interrupt
    def test_a_second_interrupt_kills_a_run_that_cannot_end(self):
        process = self.start("--processes 2 --threads 9 --seconds 86400 --kills-per-second 0")
        worker = worker_of(process)
        # It dies with the supervisor once it has started threads.
        while len(list(pathlib.Path(f"/proc/{worker}/task").iterdir())) < 9:
            pass
        os.kill(worker, signal.SIGSTOP)  # it cannot end
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        self.ends(process, -signal.SIGINT)

    # Spec: stress.faults
    def test_each_fault_takes_place_alone_and_the_lock_survives(self):
        for fault in FAULTS:
            with self.subTest(fault):
                rate = "--kills-per-second" if fault == "kill" else "--faults-per-second"
                output = self.run_it(f"--processes 3 --threads 3 --seconds 1.5 --faults {fault} {rate} 50 --seed 3")
                for other in FAULTS:
                    count = number_in(output, "kills" if other == "kill" else f"fault: {other}")
                    self.assertEqual(count > 0, other == fault, output)
                is_death = fault in ("kill", "exit", "exec", "exec-thread")
                self.assertEqual(number_in(output, "inherited") > 0, is_death, output)

    # Spec: stress.faults, stress.locks
    def test_all_faults_together_on_several_locks_lose_nothing(self):
        output = self.run_it("--processes 4 --threads 3 --seconds 3 --faults all --locks 5 --seed 3")
        self.assertGreater(number_in(output, "inherited"), 0)

    # Spec: stress.alternatives
    def test_other_locks_pass_if_nobody_dies(self):
        for lock in ("pthread-robust", "pthread", "sem"):
            with self.subTest(lock):
                self.run_it(f"--lock {lock} --seconds 1 --faults timeout,signal --locks 3 --seed 3")

    # Spec: stress.verdict
    def test_a_robust_mutex_strands_the_waiters_behind_an_owner_that_called_exec(self):
        output = self.run_it("--lock pthread-robust --seconds 86400 --faults exec-thread --faults-per-second 5 --seed 3", 1)
        self.assertIn("waited over 3 s behind an owner that is dead", output)
        self.assertEqual(number_in(output, "locks never free"), 1)

    # Spec: stress.verdict
    def test_a_mutex_that_is_not_robust_strands_the_waiters_behind_a_killed_owner(self):
        output = self.run_it("--lock pthread --seconds 86400 --locks 4 --seed 3", 1)
        self.assertGreater(number_in(output, "stranded waiters"), 0)
        self.assertIn("waited over 2 s behind an owner that is dead", output)

    # Spec: stress.verdict
    def test_a_semaphore_has_two_owners_after_a_forked_child_released_it(self):
        output = self.run_it("--lock sem --seconds 86400 --faults fork --seed 3", 1)
        self.assertGreater(number_in(output, "wrong owners"), 0)
        self.assertIn("  wrong owner: ", output)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main()
