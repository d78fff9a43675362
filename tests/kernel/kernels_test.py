"""What ci/kernels makes of a console: only what was heard of has passed."""
import json
import unittest
import xml.etree.ElementTree as xml

import guest
import kernels

PROGRAMS = [{"suite": "unit", "name": "one"}, {"suite": "c", "name": "other"}]


def said(**what):
    return kernels.MARK + json.dumps(what) + "\n"


ONE = said(program="one", passed=3, skipped=0, failures=[], seconds=1)
OTHER = said(program="other", passed=1, skipped=1, failures=[], seconds=1)
BEGIN, END = said(kernel="6.1.0-56"), said(end=True)


# Spec: build.kernels
class Judgement(unittest.TestCase):
    def judge(self, *lines, ending=None):
        return kernels.judged(PROGRAMS, lines, ending, "6.1.0-56")

    def test_what_is_all_heard_has_passed(self):
        result = self.judge(BEGIN, ONE, OTHER, END)
        self.assertTrue(result["passed"])
        self.assertEqual([kernels.cell(result, suite) for suite in ("unit", "c", "sweep")], ["3", "1 (1)", "none"])

    def test_what_is_not_heard_has_failed(self):
        garbled = OTHER[:20] + "[    1.0] a message of the kernel\n"
        for lines in ([], [BEGIN, ONE], [BEGIN, ONE, END], [BEGIN, ONE, garbled, END], [BEGIN, ONE, OTHER], [ONE, OTHER, END]):
            with self.subTest(lines=lines):
                self.assertFalse(self.judge(*lines)["passed"])

    def test_a_machine_that_fails_after_its_end_has_failed(self):
        self.assertFalse(self.judge(BEGIN, ONE, OTHER, END, ending="QEMU ended with the status 1")["passed"])

    def test_no_programs_have_failed(self):
        self.assertFalse(kernels.judged([], [BEGIN, END], None, "6.1.0-56")["passed"])

    def test_another_kernel_has_failed(self):
        self.assertFalse(self.judge(said(kernel="6.1.0-55"), ONE, OTHER, END)["passed"])


# Spec: build.kernels
class Count(unittest.TestCase):
    def count(self, cases, status, skips=""):
        report = None if cases is None else xml.ElementTree(xml.fromstring(f"<testsuites><testsuite>{cases}</testsuite></testsuites>"))
        result = guest.counted(report, status, "skipped: why", skips)
        return result["passed"], result["skipped"], len(result["failures"])

    def test_cases_of_a_report(self):
        failed = '<testcase name="a"><failure/></testcase>'
        passed = '<testcase name="b"/>'
        skipped = '<testcase name="c" result="skipped"><skipped/></testcase>'
        self.assertEqual(self.count(passed + passed + skipped, 0), (2, 1, 0))
        self.assertEqual(self.count(passed + failed + skipped, 1), (1, 1, 1))

    def test_a_bad_status_fails_whatever_the_report_says(self):
        self.assertEqual(self.count('<testcase name="b"/>', -11), (1, 0, 1))
        self.assertEqual(self.count(None, "none within 3 s"), (0, 0, 1))

    def test_a_program_without_a_report_is_one_case(self):
        self.assertEqual(self.count(None, 0), (1, 0, 0))
        self.assertEqual(self.count(None, 0, "^skipped: "), (0, 1, 0))

    def test_an_empty_report_fails(self):
        self.assertEqual(self.count("", 0), (0, 0, 1))


if __name__ == "__main__":
    unittest.main()
