#!/usr/bin/env python3
"""What ci/stress makes of the reports: a stand-in takes the place of heirlock-stress."""
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import unittest

MATRIX = pathlib.Path(__file__).resolve().parent.parent / "matrix.py"

# Fails with the locks in FAILS, by the row SIGN of its report.
STAND_IN = f"""#!{sys.executable} -IS
import os, signal, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lock, seed = arguments.get("--lock", "heirlock"), arguments["--seed"]
if os.environ.get("BREAKS") == lock:
    sys.exit(2)
if os.environ.get("HANGS") == seed:
    print(os.getpid(), file=open(os.environ["PIPE"], "w"), flush=True)
    signal.pause()
fails = lock in os.environ.get("FAILS", "pthread pthread-robust sem").split()
rows = {{"kills": "100  (10/s)", "inherited": 7, "longest wait": "1.25 ms", "failed workers": 0, os.environ.get("SIGN", "stranded waiters"): 15 * fails}}
rows.pop(os.environ.get("OMITS"), None)
print("\\n".join(f"  {{name}}  {{value}}" for name, value in rows.items()))
print("FAILED: \\n  stranded: 15" if fails else "PASSED")
sys.exit(fails)
"""


# Spec: stress.matrix
class Matrix(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program, self.pipe = pathlib.Path(folder.name) / "stand-in", pathlib.Path(folder.name) / "pipe"
        self.program.write_text(STAND_IN, encoding="utf-8")
        self.program.chmod(0o755)

    def start(self, **environment):
        return subprocess.Popen([sys.executable, MATRIX, "0.1", "--program", self.program, "--seed", "5"], text=True,
                                env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_a_report_without_its_rows_is_a_failure(self):
        for omitted in "kills", "failed workers":
            self.expect(1, "its report is not that of a whole run", "FAILED: 10 of 10 runs", OMITS=omitted)

    def expect(self, status, *texts, **environment):
        with self.start(**environment) as process:
            printed = process.communicate()[0]
        self.assertEqual(process.returncode, status, printed)
        for text in texts:
            self.assertRegex(printed, text)

    def test_passes_if_heirlock_passes_and_the_others_fail(self):
        self.expect(0, "PASSED: 700 kills survived", "passed  many threads +[0-9.]+ +100 +7 +1.25 ms\n",
                    "passed  must fail: pthread, .*\n  stranded: 15")

    def test_a_failure_of_heirlock_tells_how_to_repeat_it(self):
        self.expect(1, "again with: heirlock-stress --processes 4 .*--seed 25\n", "FAILED: 7 of 10 runs",
                    FAILS="heirlock pthread pthread-robust sem")

    def test_a_lock_that_should_fail_but_passes_is_a_failure(self):
        self.expect(1, "FAILED  must fail: pthread-robust.*\nit passed", "FAILED: 1 of 10 runs", FAILS="pthread sem")

    def test_a_lock_must_strand_its_waiters_to_count(self):
        self.expect(1, "stranded waiters and locks never free are 0", "FAILED: 3 of 10 runs", SIGN="money lost")
        self.expect(1, "some of its workers failed, too", "FAILED: 3 of 10 runs", SIGN="failed workers")

    def test_a_program_that_cannot_run_is_a_failure(self):
        self.expect(1, "exit status 2", "FAILED: 1 of 10 runs", BREAKS="sem")

    def test_a_signal_ends_the_run_and_leaves_no_processes(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                os.mkfifo(self.pipe)
                with self.start(HANGS="25", PIPE=str(self.pipe)) as process:
                    with open(self.pipe, encoding="utf-8") as pipe:
                        stand_in = os.pidfd_open(int(pipe.readline()))
                    self.addCleanup(os.close, stand_in)
                    process.send_signal(number)
                    printed = process.communicate()[0]
                    self.assertTrue(select.select([stand_in], [], [], 20)[0], "the stand-in lives on")
                self.assertEqual(process.returncode, -number if number == signal.SIGKILL else 128 + number)
                if number != signal.SIGKILL:
                    self.assertIn("interrupted: 2 of 10 runs done", printed)
                self.pipe.unlink()


if __name__ == "__main__":
    unittest.main()
