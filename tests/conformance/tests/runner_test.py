#!/usr/bin/env python3
"""heirlock-conformance, driven by a stand-in for a port (stand_in.py) that can be told to go wrong."""
# Spec: conformance.verdict, conformance.driver, conformance.capabilities, conformance.mixed
# Spec: conformance.mixed, conformance.vectors, conformance.differences
# Spec: conformance.cleanup, conformance.junit, conformance.capabilities
import os
import pathlib
import re
import shlex
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
BRIEF = 2  # seconds to wait for what does not come, and yet enough for an interpreter to start on a busy machine
COUNT = len(list((HERE / "vectors").glob("*.vector")))


def head_of(**comments):
    return "".join(f"# {key}: {text}\n" for key, text in comments.items())


HEAD = head_of(Spec="conformance.verdict", Claim="a claim.", Needs="threads, fork, exec, query, names, layout")


def command(*arguments, drivers=(STAND_IN,), vectors=HERE / "vectors"):
    return [*RUNNER, "--vectors", str(vectors), "--window", "0.02", *map(str, arguments), *drivers]


def play(*arguments, wrong="", capabilities=None, **others):
    """What it prints, to both, and its status."""
    environment = {**os.environ, "WRONG": wrong, **({} if capabilities is None else {"CAPABILITIES": capabilities})}
    environment.pop("RUNNER", None)
    done = subprocess.run(command(*arguments, **others), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          check=False)
    return done.stdout, done.returncode


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def vector(self, steps, head=HEAD):
        return self.file("it.vector", head + steps)

    def fails(self, wrong, *texts, only="inherits", steps=None, status=1, arguments=()):
        given = {"vectors": self.vector(steps)} if steps else {}
        text, found = play(*arguments, *(() if steps else ("--only", only)), wrong=wrong, **given)
        for expected in texts:
            self.assertRegex(text, expected)
        self.assertEqual(found, status, text)
        return text


class Verdict(Case):
    def test_a_driver_that_behaves_passes(self):
        text, status = play()
        self.assertEqual((text.splitlines()[-1], status), (f"{COUNT} passed", 0), text)

    def test_another_answer_fails_with_line_step_expected_and_seen_and_the_next_vectors_go_on(self):
        text, status = play(wrong="never inherits")
        self.assertRegex(text, r"inherits: FAILED\n  \S*inherits.vector:9: B unblocks -> inherited\n  expected: inherited\n  seen:     acquired\n")
        self.assertIn("two_wait: passed", text)
        self.assertEqual((text.splitlines()[-1], status), ("3 passed, 3 failed", 1), text)

    def test_a_failure_says_how_to_run_that_vector_again_from_anywhere(self):
        self.file("my driver", f'#!/bin/sh\nexec {STAND_IN} "$@"\n').chmod(0o700)
        given = command("--only", "t*", drivers=["'./my driver'", "'my driver'"], vectors=os.path.relpath(HERE / "vectors", self.folder))
        here = {**os.environ, "WRONG": "early", "PATH": f"{self.folder}:{os.environ['PATH']}"}
        text = subprocess.run(given, cwd=self.folder, env=here, stdout=subprocess.PIPE, text=True, timeout=60, check=False).stdout
        again = re.search("again with: (.*)", text)[1]
        done = subprocess.run(again, shell=True, cwd="/", env={**os.environ, "WRONG": "early"}, stdout=subprocess.PIPE, text=True, timeout=60,
                              check=False)
        self.assertRegex(done.stdout, "A > 1 acquire 3 -\n    A < 1 acquired\n")
        self.assertEqual((done.stdout.splitlines()[-1], done.returncode), ("2 failed", 1))

    def test_a_timeout_that_is_too_early_fails(self):
        self.fails("early", r"seen:     timeout too early \(after \d+\.\d ms of 300\)", only="times_out")

    def test_a_timeout_of_one_that_blocked_must_not_be_early_either(self):
        self.fails("early", "too early", steps="A acquire -> acquired\nB acquire 400ms -> blocks\nB unblocks -> timeout\n")

    WOKEN = "A acquire -> acquired\nB acquire -> blocks\nB still blocks 300ms\nA release -> done\nB unblocks soon -> acquired\n"

    def test_an_answer_that_comes_late_though_asked_for_soon_fails_in_the_end(self):
        self.fails("late", r"expected: acquired within 0.4 s\n  seen:     late \(after \d\.\d s\)", steps=self.WOKEN)

    def test_an_answer_that_comes_late_has_another_chance(self):
        os.environ["MARK"] = str(self.folder / "mark")
        self.addCleanup(os.environ.pop, "MARK")
        self.fails("late once", "it: passed", steps=self.WOKEN, status=0)
        self.assertTrue((self.folder / "mark").exists())

    def test_an_answer_that_comes_soon_passes(self):
        self.fails("", "it: passed", steps=self.WOKEN, status=0)

    def test_a_try_that_takes_its_time_fails(self):
        for step in ("A try -> acquired", "A acquire -5ms -> acquired"):
            with self.subTest(step):
                self.fails("slow", r"expected: acquired within 2 s\n  seen:     late", steps=f"{step}\n")

    def test_an_answer_where_it_must_block_for_a_time_fails(self):
        text = "A acquire -> acquired\nB acquire 200ms -> blocks\nB still blocks 5000ms\n"
        self.fails("", "expected: blocks\n  seen:     timeout", steps=text)

    def test_polling_goes_on_until_another_answer(self):
        self.fails("", "expected: inherited\n  seen:     busy \\(2000 times\\)", steps="A acquire -> acquired\nB polls -> inherited\n")
        self.fails("", "expected: inherited\n  seen:     acquired", steps="B polls -> inherited\n")

    def test_an_owner_id_that_is_not_the_complement_of_the_last_fails(self):
        self.fails("", "expected: complement\n  seen:     other", steps="A acquire -> acquired\nsee owner_id -> other\nA release -> done\n"
                   "see owner_id -> complement\n")

    def test_an_answer_where_it_must_block_fails(self):
        self.fails("", "expected: blocks\n  seen:     acquired", steps="A acquire -> blocks\n", arguments=["--window", 20])

    def test_an_answer_where_it_must_still_block_fails(self):
        text = "A acquire -> acquired\nB acquire -> blocks\nA release -> done\nB still blocks\n"
        self.fails("", "expected: blocks\n  seen:     acquired", steps=text, arguments=["--window", 2])

    def test_no_answer_is_seen_as_blocks(self):
        self.fails("silent", r"expected: acquired\n  seen:     blocks \(within 2 s\)", arguments=["--timeout", BRIEF])

    def test_no_answer_to_one_that_may_not_wait_for_ever_is_called_so_and_listed_as_blocks(self):
        for step in ("A acquire 50ms -> acquired", "A try -> acquired"):
            with self.subTest(step):
                self.fails("silent", r"expected: acquired\n  seen:     no answer within 2 s\n", steps=f"{step}\n", arguments=["--timeout", BRIEF])
                known = self.file("known", f"it | {step} | blocks | it sleeps\n")
                self.fails("silent", "it: differs as listed", steps=f"{step}\n", status=0, arguments=["--differences", known])

    def test_an_answer_of_neither_of_two_fails(self):
        self.fails("", "expected: acquired\n  seen:     blocks", arguments=["--timeout", BRIEF],
                   steps="A acquire -> acquired\nB acquire -> blocks\nC acquire -> blocks\nB|C unblocks -> acquired\n")

    def test_a_wrong_owner_is_called_by_its_name(self):
        self.fails("", "expected: B\n  seen:     A", steps="B try @1 -> acquired\nA acquire -> acquired\nA owner -> B\n")

    def test_a_wrong_word_in_memory_is_shown(self):
        self.fails("", "expected: nobody WAITERS\n  seen:     A\n", steps="A acquire -> acquired\nsee word -> nobody WAITERS\n")

    def test_a_word_that_one_who_waits_may_yet_write_is_waited_for(self):
        self.fails("", r"expected: A WAITERS\n  seen:     A\n", arguments=["--timeout", BRIEF],
                   steps="A acquire -> acquired\nB acquire -> blocks\nsee word -> A WAITERS\n")

    def test_a_release_that_makes_no_wake_up_fails_where_it_must(self):
        self.fails("", "expected: wakes\n  seen:     done\n", steps="A acquire -> acquired\nA release -> wakes\n")

    def test_a_segment_without_its_file_fails(self):
        self.fails("", "expected: that this can be done\n  seen:     .*No such file or directory: '/dev/shm/heirlock.conformance-",
                   steps="set byte 0 @x 1\n")

    def test_what_is_no_answer_fails(self):
        self.fails("garbage", "expected: THREAD RESULT", r"seen:     A wrote 'what\?\\x01'")

    def test_a_line_without_end_fails(self):
        self.fails("endless line", "seen:     A wrote over 4096 characters without an end of line")

    def test_a_death_fails_and_the_first_lines_of_what_it_said_are_shown_one_each(self):
        text = self.fails("complains and dies", "expected: that A goes on\n  seen:     A ended with status 3\n  standard error: no such luck\n"
                          "  standard error:   in line 3\n  standard error: whatever\n", "standard error: and more\n  again with")
        self.assertEqual(text.count("standard error: "), 21)

    def test_a_death_by_a_signal_fails(self):
        self.fails("dies", "seen:     A ended by SIGSEGV")

    def test_a_driver_that_is_never_ready_fails(self):
        self.fails("never ready", "first start: FAILED\n  expected: ready PID CAPABILITY", r"seen:     nothing within 2 s \(is each line flushed\?\)",
                   "again with: ", "1 failed, 1 not run", arguments=["--timeout", BRIEF])

    def test_another_process_id_than_its_own_fails(self):
        self.fails("pid", "expected: ready with its process id\n  seen:     A wrote 'ready 1 ")

    def test_a_new_process_instead_of_a_new_program_fails(self):
        self.fails("spawns", "A exec\n  expected: ready with its process id", steps="A exec\n")

    def test_an_answer_to_nothing_fails(self):
        self.fails("unasked", "expected: nothing from thread 9 of A", "seen:     A wrote '9 done'")

    def test_a_second_answer_fails(self):
        self.fails("twice", "expected: nothing from thread 1 of A, which has nothing to answer", steps="A acquire -> acquired\n")

    def test_an_answer_after_the_last_step_fails(self):
        self.fails("afterthought", "the end of its input\n  expected: nothing from thread 1 of A", steps="A acquire -> acquired\n")

    def test_a_driver_that_does_not_end_with_its_input_fails(self):
        self.fails("stays", "the end of its input\n  expected: that B ends\n  seen:     B goes on", arguments=["--timeout", BRIEF])

    def test_a_driver_that_waits_for_ever_need_not_end_with_its_input(self):
        text, status = play("--timeout", BRIEF, wrong="stays", vectors=self.vector("A acquire -> acquired\nB acquire -> blocks\nstop A\n"))
        self.assertEqual(status, 0, text)

    def test_a_tid_that_is_no_thread_of_the_process_fails(self):
        self.fails("tid", "expected: the tid of the thread\n  seen:     1 ", steps="A.2 try -> acquired\n")

    def test_capabilities_that_change_fail(self):
        self.fails("changes", "expected: the capabilities of its first start, .* names ", steps="A acquire -> acquired\nB try -> busy\n")

    def test_a_wrapper_around_a_driver_is_none_of_its_concern(self):
        text, status = play("--only", "inherits", drivers=[f"sh -c '{STAND_IN} \"$@\"; exit 0' sh"])
        self.assertEqual(status, 0, text)


class Options(Case):
    def test_vectors_are_listed_with_their_claims(self):
        text, status = play("--list", "--only", "fam*", drivers=())
        self.assertEqual((text, status),
                         ("family: a child is another, and a program that is executed begins anew. (needs exec, fork, threads)\n1 vector\n", 0))

    def test_a_list_ends_with_how_many_they_are(self):
        text, _ = play("--list", drivers=())
        self.assertEqual(text.splitlines()[-1], f"{COUNT} vectors")

    def test_what_looks_like_no_program_is_refused_with_a_hint(self):
        path = self.file("driver", "import os\n")
        path.chmod(0o700)
        text, status = play(drivers=[str(path)])
        self.assertRegex(text, r"cannot be started: .*Exec format error.* \(does it begin with #!\?\); give the command of a driver")
        self.assertEqual(status, 2)

    def test_drivers_may_stand_before_and_behind_an_option(self):
        text, status = play("--verbose", STAND_IN, "--only", "inherits", drivers=[STAND_IN + " "])
        self.assertEqual((text.splitlines()[-1], status), ("2 passed", 0), text)

    def test_what_cannot_be_run_is_refused(self):
        for arguments, drivers, expected in (
                ((), ["no-such-program"], "the driver 'no-such-program' cannot be started: .*give the command of a driver"),
                ((), [], "the driver is missing; see --help"),
                (("--only", "x*"), [STAND_IN], r"no vector has a name like x\*; see --list"),
                (("--window", "-1"), [STAND_IN], "--window: '-1' is not a time; give seconds, more than 0"),
                (("--speed",), [STAND_IN], "there is no option --speed; see --help"),
                (("--require", "death,speed"), [STAND_IN], "--require: 'death,speed' is not a list of capabilities; give some of death, exec, .*, with commas between"),
                (("--junit", "/dev/null/x"), [STAND_IN], "give a file that can be read, or written"),
                (("--differences", "/dev/null/x"), [STAND_IN], "give a file that can be read, or written"),
                (("--write-differences", "x"), [STAND_IN, STAND_IN], "needs exactly one driver")):
            with self.subTest(expected):
                text, status = play(*arguments, drivers=drivers)
                self.assertRegex(text, f"^heirlock-conformance: .*{expected}")
                self.assertEqual((status, text.count("\n")), (2, 1), text)


class Capabilities(Case):
    def test_a_vector_that_needs_more_is_skipped(self):
        text, status = play("--only", "[fi]*", capabilities="death query")
        self.assertIn("family: skipped: lacks exec, fork, threads\n", text)
        self.assertEqual((text.splitlines()[-1], status), ("1 passed, 1 skipped: exec (1), fork (1), threads (1)", 0), text)

    def test_the_last_line_counts_what_was_skipped_by_capability_the_most_first(self):
        text, _ = play(capabilities="death names")
        self.assertEqual(text.splitlines()[-1], "3 passed, 3 skipped: query (2), exec (1), fork (1), layout (1), threads (1)", text)

    def test_a_run_that_skips_every_vector_fails(self):
        text, status = play("--only", "family", capabilities="")
        self.assertRegex(text,
                         r"1 skipped: exec \(1\), fork \(1\), threads \(1\)\nFAILED: every vector was skipped")
        self.assertEqual(status, 1)

    def test_an_unknown_capability_fails(self):
        text, status = play(capabilities="death speed")
        self.assertRegex(text, "first start: FAILED\n  expected: some of the capabilities death, .*\n  seen:     the capability 'speed' ")
        self.assertEqual(status, 1)


class Require(Case):
    def test_a_driver_that_does_not_declare_what_is_required_fails_though_every_vector_is_run(self):
        text, status = play("--require", "names,death,fork", "--only", "[fi]*", capabilities="query death")
        self.assertRegex(text, "inherits: passed\nrequired capabilities: FAILED\n"
                         "  expected: fork, names, as --require says\n  seen:     .* declares death, query\n")
        self.assertEqual((text.splitlines()[-1], status), ("1 passed, 1 failed, 1 skipped: exec (1), fork (1), threads (1)", 1), text)

    def test_a_driver_that_declares_what_is_required_passes(self):
        text, status = play("--require", "death,query", "--only", "inherits", capabilities="query death names")
        self.assertEqual((text.splitlines()[-1], status), ("1 passed", 0), text)

    def test_each_of_several_drivers_must_declare_it(self):
        poorer = f"env CAPABILITIES=layout {STAND_IN}"
        text, status = play("--require", "layout,death", "--only", "inherits", drivers=[STAND_IN, poorer])
        self.assertRegex(text, "expected: death, as --require says\n  seen:     env .* declares layout\n")
        self.assertEqual((text.count("as --require says"), status), (1, 1), text)

    def test_junit_has_it_as_a_failure(self):
        file = self.folder / "junit.xml"
        play("--junit", file, "--require", "fork", "--only", "inherits", capabilities="death")
        self.assertEqual(xml.parse(file).getroot().get("failures"), "1")


class Mixed(Case):
    OTHER = STAND_IN + " "  # a driver by another name

    def test_each_driver_has_each_part_in_turn(self):
        text, status = play("--only", "two_wait", "--verbose", drivers=[STAND_IN, self.OTHER])
        named = {STAND_IN: "1", self.OTHER: "2"}
        self.assertEqual([one + named[driver] for one, driver in re.findall(r"    ([A-Z]) is (.*)\n", text)],
                         ["A1", "A2", "A1", "B2", "C1", "A2", "B1", "C2"], text)
        self.assertEqual((text.splitlines()[-1], status), ("2 passed", 0))

    def test_what_one_of_them_lacks_is_counted_as_skipped(self):
        text, _ = play("--only", "[it]*", drivers=[STAND_IN, f"env CAPABILITIES='layout query' {STAND_IN}"])
        self.assertEqual(text.splitlines()[-1], "4 passed, 2 skipped: death (2)", text)

    def test_drivers_without_a_common_layout_are_refused(self):
        text, status = play(drivers=[STAND_IN, self.OTHER], capabilities="death query")
        self.assertRegex(text, "lacks the capability layout, which all drivers need")
        self.assertEqual(status, 2)


class Vectors(Case):
    def test_a_vector_that_can_have_no_meaning_is_refused_with_its_line(self):
        for steps, line, expected in (
                ("A jump -> done", 4, "expected a step as README.md lists them"),
                ("A acquire", 4, "expected '-> RESULT' behind the command acquire"),
                ("A acquire -> perhaps", 4, "expected one of: acquired"),
                ("A depth -> few", 4, "expected a number"),
                ("A lock -> done", 4, "and no poison among '# Needs:'"),
                ("A try 5ms -> acquired", 4, "with a time"),
                ("A try @64 -> acquired", 4, "with a lock above 63"),
                ("A create @1 -> done", 4, "without a name"),
                ("A tid @1 -> A", 4, "with a lock; expected none"),
                ("A owner -> B", 4, "where B.1 has not begun"),
                ("A owner -> nobody2", 4, "with the result nobody2; expected a thread"),
                ("kill A", 4, "where A.1 has not begun"),
                ("A try -> acquired\nkill A\nA try -> busy", 6, "where A is gone"),
                ("A exit\nkill A", 5, "where A is gone"),
                ("A acquire -> blocks\nA try -> acquired", 5, "while A.1 blocks; expected 'A.1 unblocks' before it"),
                ("A acquire -> acquired\nA unblocks -> acquired", 5, "where A.1 does not block"),
                ("A acquire -> acquired\nA still blocks", 5, "where A.1 does not block"),
                ("A acquire -> blocks\nA unblocks -> busy", 5, "expected one of: acquired"),
                ("A acquire -> blocks\nB acquire -> blocks\nA|B unblocks -> acquired\nA try -> busy", 7, "where A.1 is called first or other by now"),
                ("A acquire -> blocks\nB acquire -> blocks\nA|B unblocks -> acquired\nother try -> busy", 7, "while other blocks"),
                ("A acquire -> blocks\nB acquire -> blocks\nA|B unblocks -> acquired\nkill A", 7, "where A.1 is called first or other by now"),
                ("first try -> busy", 4, "where first has not begun"),
                ("A try -> acquired\nstop A\nA try -> busy", 6, "where it is stopped"),
                ("A try -> acquired\nfork A A", 5, "where A has begun"),
                ("A.1 end -> done", 4, "of the main thread"),
                ("see word -> nobody ASLEEP", 4, "expected free, or nobody or a thread"),
                ("see depth -> high", 4, "expected a number, or own"),
                ("see owner_id -> 5", 4, "see: zero or other"),
                ("see owner_id -> complement", 4, "complement after another 'see owner_id'"),
                ("set depth 4294967296", 4, "with a number that does not fit"),
                ("see depth @64 -> 1", 4, "with a lock above 63"),
                ("see pending -> A", 4, "where A.1 has not begun"),
                ("A.2 tid -> A.2\nA.2 release -> wakes", 5, "expected the main thread"),
                ("A release -> wakes", 4, "where A.1 has not begun"),
                ("A try -> acquired\nA release @x -> wakes", 5, "expected the main thread, and a lock with a number"),
                ("set byte 8 @x 256", 4, "with a number that does not fit"),
                ("set mode @x 888", 4, "with a number that does not fit")):
            with self.subTest(steps):
                text, status = play("--verbose", vectors=self.vector(steps))
                self.assertRegex(text, rf"^heirlock-conformance: \S*it.vector:{line}: found .*{re.escape(expected)}")
                self.assertEqual((status, text.count("\n")), (2, 1), text)

    def test_a_step_beyond_the_capabilities_that_are_named_is_refused(self):
        for step, capability in (("A.2 try -> busy", "threads"), ("fork A B", "fork"), ("A exec", "exec"), ("A depth -> 1", "query"),
                                 ("A open @x -> done", "names"), ("set size @x 0", "names"), ("see depth -> 1", "layout")):
            with self.subTest(step):
                head = HEAD.replace(f" {capability}", " death")
                text, status = play(vectors=self.vector(step, head))
                self.assertRegex(text, rf"it.vector:4: found '{step}', and no {capability} among '# Needs:'")
                self.assertEqual(status, 2)

    def test_a_head_that_lacks_something_is_refused(self):
        for head, expected in ((head_of(Claim="it."), "found '' behind Spec in its head, expected the rules that it proves"),
                               (head_of(Spec="try it", Claim="it."), "found 'try it' behind Spec in its head, expected the rules that it proves"),
                               (head_of(Spec="lock.try.busy"), "found '' behind Claim in its head, expected what it claims"),
                               (head_of(Spec="lock.try.busy", Claim="it.", Needs="speed"), "found '# Needs: speed', expected of: death, exec,")):
            with self.subTest(head):
                text, status = play(vectors=self.vector("A try -> acquired\n", head))
                self.assertRegex(text, f"it.vector:1: {re.escape(expected)}")
                self.assertEqual(status, 2)

    def test_no_step_no_file_and_a_name_twice_are_refused(self):
        text, status = play(vectors=self.vector("# nothing\n"))
        self.assertRegex(text, "it.vector:1: there is no step; write one")
        self.assertEqual(status, 2)
        text, status = play(vectors=self.folder / "none.vector")
        self.assertRegex(text, "none.vector.*give a readable vector")
        self.assertEqual(status, 2)
        text, status = play("--vectors", HERE / "vectors/inherits.vector")
        self.assertRegex(text, "has the same name as .*; rename one")
        self.assertEqual(status, 2)


class Differences(Case):
    LINE = "inherits | B unblocks -> inherited | acquired | it forgets the dead"

    def run_with(self, *lines, wrong="never inherits", only="[in]*", **others):
        return play("--only", only, "--differences", self.file("known", "\n".join(lines) + "\n"), wrong=wrong, **others)

    def test_of_several_lines_one_is_to_hold(self):
        other = self.LINE.replace("| acquired", "| reentered").replace("the dead", "the living")
        for lines in ([self.LINE, other], [other, self.LINE]):
            text, status = self.run_with(*lines)
            self.assertIn("inherits: differs as listed: it forgets the dead\n", text)
            self.assertEqual(status, 0, text)

    def test_what_differs_as_listed_is_no_failure(self):
        text, status = self.run_with("# A comment.", self.LINE)
        self.assertIn("inherits: differs as listed: it forgets the dead\n", text)
        self.assertEqual((text.splitlines()[-1], status), ("1 passed, 1 differs as listed", 0), text)

    def test_silence_that_is_listed_is_not_waited_for_long(self):
        known = self.file("known", "inherits | A acquire -> acquired | blocks | it sleeps\n")
        text, status = play("--only", "inherits", "--differences", known, "--timeout", 1000, wrong="silent")
        self.assertEqual((text.splitlines()[-1], status), ("1 differs as listed", 0), text)

    def refutes(self, expected, *lines, **others):
        text, status = self.run_with(*lines, **others)
        self.assertRegex(text, expected)
        self.assertEqual(status, 1, text)

    def test_one_that_passes_by_now_fails(self):
        self.refutes(r"inherits: FAILED\n  it passes, but \S*known:1 says that 'B unblocks -> inherited' gives 'acquired'; remove that line", self.LINE,
                     wrong="")

    def test_one_that_is_skipped_fails(self):
        self.refutes("inherits: FAILED\n  it is skipped, but", self.LINE, capabilities="names query")

    def test_one_that_fails_at_another_step_fails(self):
        self.refutes(r"known:1 lists it otherwise; .*: inherits \| B unblocks -> inherited \| acquired \| REASON",
                     self.LINE.replace("B unblocks", "A unblocks"))

    def test_one_that_is_answered_otherwise_fails(self):
        self.refutes("known:1 lists it otherwise", self.LINE.replace("| acquired", "| reentered"))

    def test_one_that_is_no_vector_fails(self):
        self.refutes("gone: FAILED\n  .*known:2: there is no vector gone; remove this line", self.LINE, self.LINE.replace("inherits", "gone"))

    def test_one_that_is_not_chosen_is_left_alone(self):
        text, status = self.run_with(self.LINE, only="names")
        self.assertEqual((text.splitlines()[-1], status), ("1 passed", 0), text)

    def test_a_list_that_cannot_be_read_is_refused(self):
        for lines, expected in (([self.LINE.replace(" it forgets the dead", "")], "known:1: found .*, expected VECTOR | STEP | SEEN | REASON"),
                                (["inherits"], "known:1: found 'inherits'")):
            with self.subTest(expected):
                text, status = self.run_with(*lines)
                self.assertRegex(text, expected)
                self.assertEqual(status, 2)

    def test_a_list_is_written_with_the_reasons_that_still_hold(self):
        written = self.folder / "written"
        self.file("known", f"# What it is.\n{self.LINE}\nfamily | A try -> busy | acquired | another\nnames | A try -> busy | acquired | not run\n"
                  "gone | A try -> busy | acquired | no vector\n")
        text, _ = play("--only", "[fi]*", "--differences", self.folder / "known", "--write-differences", written, wrong="never inherits")
        self.assertEqual(written.read_text(encoding="utf-8"), "# What it is.\nfamily | C acquire -> inherited | acquired |\n" + self.LINE +
                         "\nnames | A try -> busy | acquired | not run\n", text)


class JUnit(Case):
    def test_it_has_each_vector_with_its_driver_and_what_came_of_it(self):
        file = self.folder / "junit.xml"
        known = self.file("known", Differences.LINE + "\n")
        play("--junit", file, "--only", "[fimn]*", "--differences", known, wrong="never inherits",
             capabilities="death query fork exec threads layout")
        suite = xml.parse(file).getroot()
        self.assertEqual({key: suite.get(key) for key in ("name", "tests", "failures", "skipped")},
                         {"name": "heirlock-conformance", "tests": "4", "failures": "2", "skipped": "1"})
        self.assertEqual([(case.get("name"), case.get("classname"), [part.tag for part in case]) for case in suite],
                         [("family", STAND_IN, ["failure"]), ("inherits", STAND_IN, ["system-out"]), ("memory", STAND_IN, ["failure"]),
                          ("names", STAND_IN, ["skipped"])])
        self.assertRegex(suite.find("testcase/failure").get("message"), "family.vector:11: .*expected: inherited; seen:     acquired")
        self.assertEqual(suite.find("testcase/skipped").get("message"), "lacks names")
        self.assertGreater(float(suite.find("testcase").get("time")), 0)

    def test_an_older_one_does_not_outlive_the_start_of_a_run(self):
        file = self.file("junit.xml", "<testsuite name='of another run'/>")
        self.assertEqual(play("--junit", file, drivers=["no-such-program"])[1], 2)
        suite = xml.parse(file).getroot()
        self.assertEqual((suite.get("tests"), suite.get("skipped")), (str(COUNT), str(COUNT)))

    def test_what_cannot_stand_in_xml_is_written_otherwise(self):
        file = self.folder / "junit.xml"
        play("--junit", file, "--only", "inherits", wrong="garbage")
        self.assertIn(r"what?\x01", xml.parse(file).getroot().find("testcase/failure").text)


class Cleanup(Case):
    def left(self, pid):
        """What a run left behind: its files, and processes of its drivers, which are ended now."""
        files = [path for path in os.listdir("/dev/shm") if path.startswith((f"heirlock.conformance-{pid}-", f"heirlock-conformance-{pid}-"))]
        processes = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                words = pathlib.Path(f"/proc/{name}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any(word.startswith(f"/dev/shm/heirlock-conformance-{pid}-") for word in words):
                processes.append(words)
                os.kill(int(name), signal.SIGKILL)
        return files + processes

    def start(self, *arguments, wrong="", **others):
        environment = {key: value for key, value in {**os.environ, "WRONG": wrong}.items() if key != "RUNNER"}
        run = subprocess.Popen(command(*arguments, **others), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        watchdog = threading.Timer(60, run.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        self.addCleanup(run.stdout.close)
        return run

    def test_neither_processes_nor_files_are_left(self):
        run = self.start(wrong="leaves")
        text, _ = run.communicate(timeout=60)
        self.assertEqual((run.returncode, self.left(run.pid)), (0, []), text)

    def test_nothing_is_left_of_what_is_stopped_or_blocked_or_failed(self):
        steps = "A acquire -> acquired\nB acquire -> blocks\nfork A C\nstop A\nC acquire -> acquired\n"
        run = self.start("--timeout", BRIEF, vectors=self.vector(steps), wrong="leaves")
        text, _ = run.communicate(timeout=60)
        self.assertEqual((run.returncode, self.left(run.pid)), (1, []), text)

    def test_a_reader_that_has_had_enough_ends_the_run_without_a_word(self):
        for option, lines in ("--list", 0), ("--verbose", 4):
            with self.subTest(option), open(self.folder / "errors", "w", encoding="utf-8") as errors:
                run = subprocess.Popen(command(option), env={**os.environ, "WRONG": "leaves"}, stdout=subprocess.PIPE, stderr=errors, text=True)
                for _ in range(lines):
                    run.stdout.readline()
                run.stdout.close()
                self.assertEqual((run.wait(timeout=60), self.left(run.pid), (self.folder / "errors").read_text(encoding="utf-8")), (141, [], ""))

    def test_a_signal_ends_the_run_and_what_was_not_run_is_reported_as_skipped(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(number):
                file = self.folder / "junit.xml"
                self.file("1.vector", HEAD + "A acquire -> acquired\n")
                self.file("2.vector", HEAD + "A acquire -> acquired\nB create @x -> done\nB acquire -> acquired\n")
                self.file("3.vector", HEAD + "A acquire -> acquired\n")
                run = self.start("--verbose", "--junit", file, "--timeout", 1000, vectors=self.folder, wrong="leaves")
                lines = []
                for line in run.stdout:
                    lines.append(line)
                    if "B > 1 acquire" in line:  # and waits for A for ever
                        run.send_signal(number)
                self.assertEqual(run.wait(timeout=60), status, lines)
                self.assertEqual(lines[-2:], ["INTERRUPTED\n", "1 passed, 2 not run\n"])
                self.assertEqual(self.left(run.pid), [])
                self.assertEqual([[part.tag for part in case] for case in xml.parse(file).getroot()], [[], ["skipped"], ["skipped"]])


if __name__ == "__main__":
    unittest.main()
