#!/usr/bin/env python3
"""What ci/stress makes of the results: a stand-in takes the place of heirlock-stress."""
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

MATRIX = pathlib.Path(__file__).resolve().parent.parent / "matrix.py"

# Fails where the environment says so, as a lock that strands does, and else passes.
STAND_IN = f"""#!{sys.executable} -IS
import json, os, signal, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lock, seed = arguments.get("--lock", "heirlock"), arguments["--seed"]
if os.environ.get("BREAKS") == lock:
    sys.exit("cannot fork")
is_interrupted = os.environ.get("HANGS") == seed
if is_interrupted:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    with open(os.environ["HANGS_AT"], "w") as file:
        print(os.getpid(), file=file, flush=True)
        signal.sigwait([signal.SIGINT])
crashes = os.environ.get("CRASHES") == lock
fails = lock in os.environ.get("FAILS", "pthread pthread-robust sem").split()
sign = os.environ.get("SIGN", "stranded_waiters") if fails else ""
result = {{"passed": not fails, "kills": 100, "faults": {{"kill": 100, "stop": 3}}, "inherited": 7,
          "longest_wait_seconds": 0.5, "seen": ["stranded: 15 threads <&>"] if fails else [],
          "interrupted": is_interrupted, "failed_workers": int(crashes),
          **{{name: 15 * (name == sign) for name in
             ("stranded_waiters", "locks_never_free_again", "wrong_owners_seen", "money_lost")}}}}
json.dump(result, open(arguments["--json"], "w"))
print("the table of seed", seed)
sys.exit(1 if fails else 0)
"""


def end(descriptor):
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass


# Spec: stress.matrix
class Matrix(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.junit, self.json = self.folder / "junit.xml", self.folder / "result.json"
        self.program = self.folder / "stand-in"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)

    def command(self, *arguments):
        return [sys.executable, MATRIX, "--program", self.program, "0.1", *arguments]

    def run_it(self, *arguments, **environment):
        done = subprocess.run(self.command(*arguments), text=True, env={**os.environ, **environment},
                              capture_output=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def suite(self):
        return xml.parse(self.junit).getroot().find("testsuite")

    def test_heirlock_that_passes_and_others_that_fail_pass(self):
        status, text = self.run_it()
        self.assertEqual(status, 0, text)
        self.assertIn("PASSED: 1,200 kills survived", text)
        self.assertRegex(text, "passed  must strand: pthread, .*\n +stranded: 15 threads")

    def test_heirlock_that_fails_fails_and_tells_how_to_run_it_again(self):
        status, text = self.run_it("--seed", "5", FAILS="heirlock pthread pthread-robust sem")
        self.assertEqual(status, 1, text)
        self.assertRegex(text.replace(" \\\n         ", ""), "again with: heirlock-stress .*--seed 5\n")
        self.assertIn("FAILED: 12 of 15 runs", text)

    def test_no_line_is_longer_than_a_screen_is_wide(self):
        for environment in ({}, {"FAILS": "heirlock"}, {"BREAKS": "heirlock"}, {"CRASHES": "sem"}):
            for line in self.run_it("--seed", str(2**63 - 1), **environment)[1].splitlines():
                self.assertLess(len(line), 120, line)

    def test_a_lock_that_should_have_failed_fails(self):
        status, text = self.run_it(FAILS="pthread sem")
        self.assertEqual(status, 1, text)
        self.assertRegex(text, "FAILED  must strand: pthread-robust.*\n +it passed")

    def test_a_lock_that_failed_for_another_reason_than_it_must_is_an_error(self):
        status, text = self.run_it("--junit", self.junit, SIGN="money_lost")
        self.assertEqual(status, 1, text)
        self.assertIn("stranded_waiters and locks_never_free_again are 0", text)
        self.assertEqual(self.suite().get("errors"), "3")

    def test_a_lock_that_failed_as_its_workers_crashed_is_an_error(self):
        status, text = self.run_it("--junit", self.junit, CRASHES="sem")
        self.assertEqual(status, 1, text)
        self.assertIn("1 of its workers failed, too", text)
        self.assertEqual(self.suite().get("errors"), "1")

    def test_a_program_that_cannot_run_fails(self):
        status, text = self.run_it(BREAKS="sem")
        self.assertEqual(status, 1, text)
        self.assertIn("FAILED: 1 of 15 runs", text)

    def test_the_same_seed_gives_each_configuration_the_same_seed(self):
        self.run_it("--seed", "5", "--json", self.json)
        seeds = [run["result"] and run["seed"] for run in json.loads(self.json.read_text())["runs"]]
        self.assertEqual(seeds, list(range(5, 155, 10)))

    def test_junit_has_a_case_for_each_run_and_a_failure_for_each_that_failed(self):
        self.run_it("--junit", self.junit, "--seed", "5", FAILS="heirlock pthread pthread-robust")
        suite = self.suite()
        self.assertEqual([suite.get(name) for name in ("tests", "failures", "errors", "skipped")], ["15", "13", "0", "0"])
        self.assertEqual(len(suite.findall("testcase")), 15)
        self.assertEqual(len(suite.findall("testcase[@classname='heirlock-stress.controls']")), 3)
        failures = suite.findall("testcase/failure")
        self.assertEqual(len(failures), 13)
        self.assertEqual(failures[0].get("message"), "stranded: 15 threads <&>")
        self.assertIn("the table of seed 5", failures[0].text)
        self.assertEqual(suite.find("properties/property[@name='seed']").get("value"), "5")

    def test_junit_says_when_and_how_many_at_both_levels(self):
        self.run_it("--junit", self.junit)
        for element in (xml.parse(self.junit).getroot(), self.suite()):
            self.assertRegex(element.get("timestamp"), r"^\d{4}-\d\d-\d\dT")
            self.assertEqual((element.get("tests"), element.get("failures")), ("15", "0"))

    def test_json_has_each_run_with_its_result(self):
        self.run_it("--json", self.json, "--seed", "5")
        result = json.loads(self.json.read_text())
        self.assertEqual((result["seed"], result["passed"], result["kills_survived"]), (5, True, 1200))
        self.assertEqual((result["complete"], result["runs_planned"], len(result["runs"])), (True, 15, 15))
        self.assertEqual(result["runs"][0]["result"]["inherited"], 7)

    def test_a_bad_option_is_refused_in_one_line_with_status_2(self):
        for bad in (["--seed", "-1"], ["--seed", "x"], ["--junit", "/nonexistent/file"], ["--frob"], ["--json"]):
            status, text = self.run_it(*bad)
            self.assertEqual((status, text.count("\n")), (2, 1), text)
        self.assertIn("--seed: 'x' is not a whole number", self.run_it("--seed", "x")[1])

    def start_and_hang_in_third_run(self):
        """Returns the process and the open end of a pipe, which gets closed when the stand-in is gone."""
        for file in (self.junit, self.json):
            file.write_text("an old result")
        where = self.folder / "pipe"
        os.mkfifo(where)
        process = subprocess.Popen(self.command("--seed", "5", "--junit", self.junit, "--json", self.json),
                                   env={**os.environ, "HANGS": "25", "HANGS_AT": str(where)}, text=True,
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        pipe = open(where, encoding="utf-8")
        self.addCleanup(pipe.close)
        stand_in = int(pipe.readline())
        descriptor = os.pidfd_open(stand_in)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(end, descriptor)
        return process, pipe

    def expect_end_of_stand_in(self, pipe):
        self.assertTrue(select.select([pipe], [], [], 20)[0], "the stand-in lives on")
        self.assertEqual(pipe.read(), "")

    def expect_two_runs_of_fifteen(self):
        suite = self.suite()
        self.assertEqual([suite.get(name) for name in ("tests", "failures", "errors", "skipped")], ["15", "0", "1", "12"])
        self.assertEqual(suite.findall("testcase")[2].find("error").get("message"), "interrupted")
        self.assertEqual(suite.findall("testcase")[3].find("skipped").get("message"), "not run")
        result = json.loads(self.json.read_text())
        self.assertEqual([result[name] for name in ("complete", "passed", "runs_planned", "runs_done")],
                         [False, False, 15, 2])
        self.assertEqual([run["state"] for run in result["runs"][:4]], ["done", "done", "interrupted", "not run"])

    # Spec: stress.matrix
    def test_a_signal_ends_the_run_under_way_and_leaves_files_that_are_not_green(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                process, pipe = self.start_and_hang_in_third_run()
                process.send_signal(number)
                self.assertIn("interrupted: 2 of 15 runs done", process.communicate()[0])
                self.assertEqual(process.returncode, 128 + number)
                self.expect_end_of_stand_in(pipe)
                self.expect_two_runs_of_fifteen()
                (self.folder / "pipe").unlink()

    # Spec: stress.matrix
    def test_even_sigkill_ends_the_run_under_way_and_leaves_files_that_are_not_green(self):
        process, pipe = self.start_and_hang_in_third_run()
        process.kill()
        self.expect_end_of_stand_in(pipe)
        process.wait()
        self.expect_two_runs_of_fifteen()
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()),
                         ["junit.xml", "pipe", "result.json", "stand-in"])


if __name__ == "__main__":
    unittest.main()
