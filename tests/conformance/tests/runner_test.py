#!/usr/bin/env python3
"""heirlock-conformance, driven by a stand-in for a port (stand_in.py) that can be told to go wrong: what would mislead who trusts it."""
# Spec: conformance.verdict, conformance.driver, conformance.capabilities, conformance.mixed
# Spec: conformance.vectors, conformance.differences, conformance.cleanup, conformance.junit
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent
RUNNER = [sys.executable, "-B", str(HERE.parent / "heirlock-conformance")]
STAND_IN = f"{sys.executable} -BIS {HERE / 'stand_in.py'}"
BRIEF = "--timeout", 5  # seconds to wait for what does not come, and yet enough for an interpreter to start on a busy machine
COUNT = len(list((HERE / "vectors").glob("*.vector")))
HEAD = "# Spec: conformance.verdict\n# Claim: a claim.\n# Needs: threads, fork, exec, query, names, layout\n"
HELD = "A acquire -> acquired\nB acquire -> blocks\n"


def command(*arguments, drivers=(STAND_IN,), vectors=HERE / "vectors"):
    return [*RUNNER, "--vectors", str(vectors), "--window", "0.02", *map(str, arguments), *drivers]


def environment(wrong="", capabilities=None):
    found = {**os.environ, "WRONG": wrong, **({} if capabilities is None else {"CAPABILITIES": capabilities})}
    found.pop("RUNNER", None)
    return found


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def play(self, *arguments, wrong="", capabilities=None, steps=None, status=0, says=(), last=None, **others):
        """What it prints, to both, which must say this; its status and last line must be these."""
        if steps:
            others["vectors"] = self.file("it.vector", HEAD + steps)
        done = subprocess.run(command(*arguments, **others), env=environment(wrong, capabilities), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        for expected in [says] if isinstance(says, str) else says:
            self.assertRegex(done.stdout, expected)
        if last:
            self.assertEqual(done.stdout.splitlines()[-1], last)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout


class Verdict(Case):
    def test_a_driver_that_behaves_passes(self):
        self.play(last=f"{COUNT} passed")
        self.play(steps=HELD + "B still blocks\nA release -> done\nB unblocks soon -> acquired\n")

    def test_a_failure_has_its_line_and_its_command_and_the_next_vectors_go_on(self):
        text = self.play(wrong="never inherits", status=1, last="3 passed, 3 failed", says=(
            r"inherits: FAILED\n  \S*inherits.vector:9: B unblocks -> inherited\n  expected: inherited\n  seen:     acquired\n", "two_wait: passed"))
        again = re.search("again with: (.*)", text)[1]
        done = subprocess.run(again, shell=True, cwd="/", env=environment("never inherits"), stdout=subprocess.PIPE, text=True, timeout=300,
                              check=False)
        self.assertEqual((done.stdout.splitlines()[-1], done.returncode), ("1 failed", 1))

    def test_whatever_goes_wrong_fails(self):
        for wrong, steps, arguments, expected in (
                ("late", "A try -> acquired\nB acquire -> blocks\nA release -> done\nB unblocks soon -> acquired\n", (), r"expected: acquired without waiting\n  seen:     blocks \(after"),
                ("early", "A acquire -> acquired\nB acquire 10000ms -> timeout\n", (), r"seen:     timeout too early \(after \d+\.\d ms of 10000\)"),
                ("", "A acquire -> acquired\nB acquire 200ms -> blocks\nB still blocks 5000ms\n", (), "expected: blocks\n  seen:     timeout"),
                ("private futex", "A acquire -> blocks\n", ("--window", 20), "expected: blocks\n  seen:     acquired"),
                ("", HELD + "A release -> done\nB still blocks\n", ("--window", 2), "expected: blocks\n  seen:     acquired"),
                ("", HELD + "C acquire -> blocks\nB|C unblocks -> acquired\n", BRIEF, "expected: acquired\n  seen:     blocks"),
                ("", "A acquire -> acquired\nB polls -> inherited\n", (), r"seen:     busy \(2000 times\)"),
                ("", "A acquire -> acquired\nsee owner_id -> other\nA release -> done\nsee owner_id -> complement\n", (),
                 "expected: complement\n  seen:     other"),
                ("", "B try @1 -> acquired\nA acquire -> acquired\nA owner -> B\n", (), "expected: B\n  seen:     A"),
                ("", HELD + "see word -> A WAITERS\n", BRIEF, r"expected: A WAITERS\n  seen:     A\n"),
                ("", "A acquire -> acquired\nA release -> wakes\n", (), "expected: wakes\n  seen:     done\n"),
                ("", "set byte 0 @x 1\n", (), "expected: the runner can do this"),
                ("silent", "A acquire -> acquired\n", BRIEF, r"expected: acquired\n  seen:     blocks \(within 5 s\)"),
                ("silent", "A try -> acquired\n", BRIEF, r"expected: an answer without waiting\n  seen:     blocks \(after"),
                ("spins", "A try -> acquired\n", (), r"expected: an answer without waiting\n  seen:     blocks \(after"),
                ("garbage", "A acquire -> acquired\n", (), r"expected: THREAD RESULT.*\n.*A wrote 'what\?\\x01'"),
                ("endless line", "A acquire -> acquired\n", (), "A wrote over 4096 characters without an end of line"),
                ("dies", "A acquire -> acquired\n", (), "seen:     A ended by SIGSEGV"),
                ("complains and dies", "A acquire -> acquired\n", (), "seen:     A ended with status 3\n  standard error: no such luck\n"),
                ("never ready", "A acquire -> acquired\n", BRIEF, r"expected: ready PID CAPABILITY"),
                ("pid", "A acquire -> acquired\n", (), "expected: ready with its process id\n  seen:     A wrote 'ready 1 "),
                ("spawns", "A exec\n", (), "A exec\n  expected: ready with its process id"),
                ("unasked", "A acquire -> acquired\n", (), "expected: nothing from thread 9 of A"),
                ("twice", "A acquire -> acquired\n", (), "expected: nothing from thread 1 of A"),
                ("afterthought", "A acquire -> acquired\n", (), "the end of its input\n  expected: nothing from thread 1 of A"),
                ("stays", "A acquire -> acquired\n", BRIEF, "the end of its input\n  expected: A ends\n  seen:     A goes on"),
                ("tid", "A.2 try -> acquired\n", (), "expected: the tid of the thread\n  seen:     1 "),
                ("changes", "A acquire -> acquired\nB try -> busy\n", (), "expected: the capabilities of its first start")):
            with self.subTest(wrong=wrong, steps=steps):
                self.play(*arguments, wrong=wrong, steps=steps, status=1, says=expected)

    def test_what_cannot_be_run_is_refused(self):
        for arguments, drivers, expected in (
                ((), ["no-such-program"], "the driver 'no-such-program' cannot be started: .*give the command of a driver"),
                (("--only", "x*"), [STAND_IN], r"no vector has a name like x\*; see --list"),
                (("--require", "death,speed"), [STAND_IN], "--require: 'death,speed' is not a list of capabilities; give some of death, exec, .*, with commas between"),
                (("--junit", "/dev/null/x"), [STAND_IN], "give a file that can be read, or written"),
                (("--write-differences", "x"), [STAND_IN, STAND_IN], "needs exactly one driver")):
            with self.subTest(expected):
                self.assertEqual(self.play(*arguments, drivers=drivers, status=2, says=f"^heirlock-conformance: .*{expected}").count("\n"), 1)


class Capabilities(Case):
    def test_what_a_driver_lacks_is_skipped_and_counted(self):
        self.play(capabilities="death names", last="3 passed, 3 skipped: query (2), exec (1), fork (1), layout (1), threads (1)")
        self.play("--only", "family", capabilities="", status=1, last="FAILED: every vector was skipped")
        self.play(capabilities="death speed", status=1, says="seen:     the capability 'speed' ")

    def test_a_driver_that_does_not_declare_what_is_required_fails(self):
        self.play("--require", "death,query", "--only", "inherits", capabilities="query death names", last="1 passed")
        self.play("--require", "names,death,fork", "--only", "inherits", capabilities="query death", status=1,
                  says="inherits: passed\nrequired capabilities: FAILED\n  expected: fork, names, as --require says\n")
        text = self.play("--require", "layout,death", "--only", "inherits", drivers=[STAND_IN, f"env CAPABILITIES=layout {STAND_IN}"], status=1)
        self.assertEqual(text.count("as --require says"), 1)

    def test_each_of_several_drivers_has_each_part_in_turn(self):
        named = {STAND_IN: "1", STAND_IN + " ": "2"}
        text = self.play("--only", "two_wait", "--verbose", drivers=named, last="2 passed")
        self.assertEqual([one + named[driver] for one, driver in re.findall(r"    ([A-Z]) is (.*)\n", text)],
                         ["A1", "A2", "A1", "B2", "C1", "A2", "B1", "C2"], text)
        self.play(drivers=named, capabilities="death query", status=2, says="lacks the capability layout")


class Vectors(Case):
    def test_a_vector_that_can_have_no_meaning_is_refused_with_its_line(self):
        for steps, line, expected in (
                ("A jump -> done", 4, "is no step; README.md lists them"),
                ("A acquire -> perhaps", 4, "give one of: acquired"),
                ("A lock -> done", 4, "this needs the capability poison; add it to '# Needs:'"),
                ("A try @64 -> acquired", 4, "there is no such lock; use @0 to @63"),
                ("A owner -> B", 4, "B.1 has not begun"),
                ("A exit\nkill A", 5, "A is gone"),
                ("A acquire -> blocks\nA try -> acquired", 5, "A.1 still blocks; put 'A.1 unblocks' before it"),
                ("A acquire -> acquired\nA still blocks", 5, "A.1 does not block"),
                (HELD + "C acquire -> blocks\nB|C unblocks -> acquired\nB try -> busy", 8, "B.1 is now called first or other"),
                ("A try -> acquired\nstop A\nA try -> busy", 6, "the process is stopped"),
                ("A try -> acquired\nfork A A", 5, "A has begun already"),
                ("A.1 end -> done", 4, "a main thread cannot end"),
                ("see owner_id -> complement", 4, "complement after another 'see owner_id'"),
                ("set byte 8 @x 256", 4, "the number does not fit"),
                ("# nothing", 1, "there is no step; write one")):
            with self.subTest(steps):
                self.play(steps=steps, status=2, says=rf"^heirlock-conformance: \S*it.vector:{line}: .*{re.escape(expected)}")

    def test_a_step_beyond_the_capabilities_that_are_named_is_refused(self):
        for step, capability in (("A.2 try -> busy", "threads"), ("fork A B", "fork"), ("A exec", "exec"), ("A depth -> 1", "query"),
                                 ("A open @x -> done", "names"), ("see depth -> 1", "layout")):
            with self.subTest(step):
                path = self.file("it.vector", HEAD.replace(f" {capability}", " death") + step)
                self.play(vectors=path, status=2, says=rf"it.vector:4: '{step}': this needs the capability {capability}")


class Differences(Case):
    LINE = "inherits | B unblocks -> inherited | acquired | it forgets the dead"

    def run_with(self, *lines, wrong="never inherits", **others):
        return self.play("--only", "[in]*", "--differences", self.file("known", "\n".join(lines) + "\n"), wrong=wrong, **others)

    def test_what_differs_as_one_line_lists_it_is_no_failure(self):
        self.run_with("# A comment.", self.LINE.replace("| acquired", "| reentered"), self.LINE, last="1 passed, 1 differs as listed",
                      says="inherits: differs as listed: it forgets the dead\n")

    def test_a_line_that_does_not_hold_fails(self):
        for lines, others, expected in (
                ([self.LINE], {"wrong": ""}, r"it passes, but \S*known:1 says"),
                ([self.LINE], {"capabilities": "names query"}, "it is skipped, but"),
                ([self.LINE.replace("B unblocks", "A unblocks")], {}, "known:1 lists it otherwise"),
                ([self.LINE.replace("| acquired", "| reentered")], {}, "known:1 lists it otherwise"),
                ([self.LINE, self.LINE.replace("inherits", "gone")], {}, "known:2: there is no vector gone")):
            with self.subTest(expected):
                self.run_with(*lines, status=1, says=expected, **others)
        self.run_with("inherits", status=2, says="known:1: 'inherits' has not four fields")

    def test_a_list_is_written_with_the_reasons_that_still_hold(self):
        written = self.folder / "written"
        known = self.file("known", f"# What it is.\n{self.LINE}\nfamily | A try -> busy | acquired | another\nnames | A try -> busy | acquired | not run\n"
                          "gone | A try -> busy | acquired | no vector\n")
        self.play("--only", "[fi]*", "--differences", known, "--write-differences", written, wrong="never inherits", status=1)
        self.assertEqual(written.read_text(encoding="utf-8"), "# What it is.\nfamily | C acquire -> inherited | acquired |\n" + self.LINE +
                         "\nnames | A try -> busy | acquired | not run\n")


class JUnit(Case):
    def test_it_has_each_vector_with_its_driver_and_what_came_of_it(self):
        file = self.file("junit.xml", "<testsuite name='of another run'/>")
        known = self.file("known", Differences.LINE + "\n")
        self.play("--junit", file, "--only", "[fimn]*", "--differences", known, "--require", "names", wrong="never inherits",
                  capabilities="death query fork exec threads layout", status=1)
        suite = xml.parse(file).getroot()
        self.assertEqual({key: suite.get(key) for key in ("name", "failures", "skipped")},
                         {"name": "heirlock-conformance", "failures": "3", "skipped": "1"})
        self.assertEqual([(case.get("name"), case.get("classname"), [part.tag for part in case]) for case in suite if case.get("name") in
                          ("family", "inherits", "memory", "names")],
                         [("family", STAND_IN, ["failure"]), ("inherits", STAND_IN, ["system-out"]), ("memory", STAND_IN, ["failure"]),
                          ("names", STAND_IN, ["skipped"])])

    def test_what_cannot_stand_in_xml_is_written_otherwise(self):
        file = self.folder / "junit.xml"
        self.play("--junit", file, "--only", "inherits", wrong="garbage", status=1)
        self.assertIn(r"what?\x01", xml.parse(file).getroot().find("testcase/failure").text)


class Cleanup(Case):
    def left(self, pid):
        """What a run left behind: its files, and processes of its drivers, which are ended now."""
        files = [path for path in os.listdir("/dev/shm") if path.startswith((f"heirlock.conformance-{pid}-", f"heirlock-conformance-{pid}-"))]
        processes = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                words = pathlib.Path(f"/proc/{name}/cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            if any(word.startswith(f"/dev/shm/heirlock-conformance-{pid}-") for word in words):
                processes.append(words)
                os.kill(int(name), signal.SIGKILL)
        return files + processes

    def start(self, *arguments, **others):
        run = subprocess.Popen(command(*arguments, **others), env=environment("leaves"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        watchdog = threading.Timer(300, run.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        self.addCleanup(run.stdout.close)
        return run

    def test_nothing_is_left_of_what_is_stopped_or_blocked_or_failed(self):
        vector = self.file("it.vector", HEAD + HELD + "fork A C\nstop A\nC acquire -> acquired\n")
        run = self.start(*BRIEF, vectors=vector)
        text, _ = run.communicate(timeout=300)
        self.assertEqual((run.returncode, self.left(run.pid)), (1, []), text)

    def test_a_signal_ends_the_run_and_what_was_not_run_is_reported_as_skipped(self):
        file = self.folder / "junit.xml"
        self.file("1.vector", HEAD + "A acquire -> acquired\n")
        self.file("2.vector", HEAD + "A acquire -> acquired\nB create @x -> done\nB acquire -> acquired\n")
        self.file("3.vector", HEAD + "A acquire -> acquired\n")
        run = self.start("--verbose", "--junit", file, "--timeout", 1000, vectors=self.folder)
        lines = []
        for line in run.stdout:
            lines.append(line)
            if "B > 1 acquire" in line:  # and waits for A for ever
                run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(timeout=300), 143, lines)
        self.assertEqual(lines[-2:], ["INTERRUPTED\n", "1 passed, 2 not run\n"])
        self.assertEqual(self.left(run.pid), [])
        self.assertEqual([[part.tag for part in case] for case in xml.parse(file).getroot()], [[], ["skipped"], ["skipped"]])


if __name__ == "__main__":
    unittest.main()
