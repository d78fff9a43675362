#!/usr/bin/env python3
"""What ci/stress makes of the results: a stand-in takes the place of heirlock-stress."""
# Spec: stress.matrix
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

MATRIX = pathlib.Path(__file__).resolve().parent.parent / "matrix.py"

# Fails where the environment says so, as a lock that strands does, and else passes.
STAND_IN = f"""#!{sys.executable} -IS
import json, os, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lock, seed = arguments.get("--lock", "heirlock"), arguments["--seed"]
if os.environ.get("BREAKS") == lock:
    sys.exit("cannot fork")
fails = lock in os.environ.get("FAILS", "pthread pthread-robust sem").split()
result = {{"passed": not fails, "kills": 100, "faults": {{"kill": 100, "stop": 3}}, "inherited": 7,
          "longest_wait_seconds": 0.5, "seen": ["stranded: 15 threads <&>"] if fails else [], "interrupted": False}}
json.dump(result, open(arguments["--json"], "w"))
print("the table of seed", seed)
sys.exit(1 if fails else 0)
"""


class Matrix(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / "stand-in"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)

    def run_it(self, *arguments, **environment):
        done = subprocess.run([sys.executable, MATRIX, "--program", self.program, "0.1", *arguments], text=True,
                              env={**os.environ, **environment}, capture_output=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_heirlock_that_passes_and_others_that_fail_pass(self):
        status, text = self.run_it()
        self.assertEqual(status, 0, text)
        self.assertIn("PASSED: 1,200 kills survived", text)
        self.assertIn("must fail, and did: stranded: 15 threads", text)

    def test_heirlock_that_fails_fails_and_tells_how_to_run_it_again(self):
        status, text = self.run_it("--seed", "5", FAILS="heirlock pthread pthread-robust sem")
        self.assertEqual(status, 1, text)
        self.assertRegex(text, "again with: heirlock-stress .*--seed 5\n")
        self.assertIn("FAILED: 12 of 15 runs", text)

    def test_a_lock_that_should_have_failed_fails(self):
        status, text = self.run_it(FAILS="pthread sem")
        self.assertEqual(status, 1, text)
        self.assertIn("was to fail: it passed", text)

    def test_a_program_that_cannot_run_fails(self):
        status, text = self.run_it(BREAKS="sem")
        self.assertEqual(status, 1, text)
        self.assertIn("FAILED: 1 of 15 runs", text)

    def test_the_same_seed_gives_each_configuration_the_same_seed(self):
        def seeds(seed):
            return [line.split("seed ")[1].split()[0] for line in self.run_it("--seed", seed)[1].splitlines()
                    if line.startswith("passed")]
        self.assertEqual(seeds("5"), seeds("5"))
        self.assertEqual(len(set(seeds("5"))), 15)

    def test_junit_has_a_case_for_each_run_and_a_failure_for_each_that_failed(self):
        file = self.folder / "junit.xml"
        self.run_it("--junit", file, "--seed", "5", FAILS="heirlock pthread pthread-robust")
        suite = xml.parse(file).getroot().find("testsuite")
        self.assertEqual(suite.get("tests"), "15")
        self.assertEqual(suite.get("failures"), "13")
        self.assertEqual(len(suite.findall("testcase")), 15)
        failures = suite.findall("testcase/failure")
        self.assertEqual(len(failures), 13)
        self.assertEqual(failures[0].get("message"), "stranded: 15 threads <&>")
        self.assertIn("the table of seed 5", failures[0].text)
        self.assertEqual(suite.find("properties/property[@name='seed']").get("value"), "5")

    def test_json_has_each_run_with_its_result(self):
        file = self.folder / "result.json"
        self.run_it("--json", file, "--seed", "5")
        result = json.loads(file.read_text())
        self.assertEqual((result["seed"], result["passed"], result["kills_survived"]), (5, True, 1200))
        self.assertEqual(len(result["runs"]), 15)
        self.assertEqual(result["runs"][0]["result"]["inherited"], 7)

    def test_a_bad_option_is_refused_with_status_2(self):
        for bad in (["--seed", "-1"], ["--junit", "/nonexistent/file"], ["--frob"]):
            self.assertEqual(self.run_it(*bad)[0], 2, bad)


if __name__ == "__main__":
    unittest.main()
