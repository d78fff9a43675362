#!/usr/bin/env python3
"""Ports that are wrong in one place, made of drivers/from_specification.py: a vector catches each."""
# Spec: conformance.verdict
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = HERE.parent / "drivers"

CHANCES = 10  # of a vector: on a busy machine one that nobody woke may look by itself just when it should have been woken

AGAIN = "memory_of_locks_taken_again"
FLAGS = "memory_to_be_inherited_with_waiters_left"
PENDING = "memory_of_the_pending_mark"
LAYOUT = "names_of_another_layout"

WRONG = {  # what is wrong: the vector that catches it, what from_specification.py has, and what the wrong port has instead
    "a lock that is put on the list leaves the former first one without its predecessor": (
        AGAIN, "_u64((first & ~1) - 8).value = node", "pass"),
    "a lock that is taken off the list leaves its successor with the old predecessor": (
        AGAIN, "_u64((following & ~1) - 8).value = previous", "pass"),
    "a lock that is put on the list again keeps its old successor": (
        AGAIN, "_u64(node).value = first", "_u64(node).value = _u64(node).value or first"),
    "a burial drops WAITERS": (
        "memory_of_an_owner_that_nobody_is", "word & WAITERS | OWNER_DIED", "OWNER_DIED"),
    "a timeout of zero never asks after the owner": (
        "memory_of_an_owner_that_nobody_is_and_tries", "if timeout <= 0:",
        "if timeout <= 0 and self.owner():\n            return NOT_ACQUIRED\n        if timeout <= 0:"),
    "after a release that woke nobody the next one wakes one alone": (
        "waiting_ends_at_once_after_a_release_that_woke_nobody", "FUTEX_WAKE_OP, ALL", "FUTEX_WAKE_OP, 1"),
    "after a release that woke nobody the next one drops OWNER_DIED": (
        FLAGS, "if not word & OWNER_DIED and me.quiet", "if me.quiet"),
    "an unrepaired release wakes nobody": (
        "waiting_ends_at_once_with_an_unrepaired_release", "if _wake_one(self._address) == 0", "if word & OWNER_DIED or _wake_one(self._address) == 0"),
    "an unrepaired release drops WAITERS, so that its successor's wakes nobody": (
        FLAGS, "WAITERS | word & OWNER_DIED)", "word & OWNER_DIED or WAITERS)"),
    "the pending mark is not there while one sleeps": (
        PENDING, "if patience.sleep(self._address, seen):",
        "me.pending.value = 0\n                ended = patience.sleep(self._address, seen)\n                me.pending.value = self._node\n                if ended:"),
    "a release clears the pending mark before its wake-up": (
        PENDING, "if _wake_one(self._address) == 0", "me.pending.value = 0\n        if _wake_one(self._address) == 0"),
    "the pending mark stays after an acquire": (
        PENDING, "me.link(self._node)  # 7\n        me.pending.value = 0", "me.link(self._node)"),
    "the header of a segment is not looked at": (
        LAYOUT, "or os.pread(descriptor, len(cls.HEADER), 0) != cls.HEADER", ""),
    "of the header of a segment the type's name is not looked at": (
        LAYOUT, "os.pread(descriptor, len(cls.HEADER), 0) != cls.HEADER", "os.pread(descriptor, 48, 0) != cls.HEADER[:48]"),
    "the size of a segment is not looked at": (
        LAYOUT, "os.fstat(descriptor).st_size != cls.FILE_SIZE or", ""),
    "the mode of a segment is not looked at": (
        "names_that_others_may_write", "or found.st_mode & 0o022", ""),
}


def play(folder, number, vector, right, wrong, timeout=30, chances=1):
    """What it prints about the port with the change, and its status: that of the first of the chances in which the vector fails."""
    text = (DRIVERS / "from_specification.py").read_text(encoding="utf-8")
    if text.count(right) != 1:
        return f"'{right}' stands {text.count(right)} times in from_specification.py, expected once", None
    port = folder / f"{number}.py"
    port.write_text(text.replace(right, wrong), encoding="utf-8")
    command = [sys.executable, "-B", str(HERE.parent / "heirlock-conformance"), "--only", vector, "--timeout", str(timeout),
               f"{sys.executable} -BS {port}"]
    for _ in range(chances):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode and "expected: ready" not in done.stdout:  # which may be late on a busy machine
            break
    return done.stdout, done.returncode


class WrongPorts(unittest.TestCase):
    def test_a_vector_catches_each(self):
        with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(2) as pool:
            folder = pathlib.Path(name)
            shutil.copy(DRIVERS / "driver.py", folder)
            same = "import ctypes\n"
            right = {vector: pool.submit(play, folder, vector, vector, same, same) for vector in {change[0] for change in WRONG.values()}}
            plays = {what: pool.submit(play, folder, number, *change, timeout=5, chances=CHANCES) for number, (what, change) in enumerate(WRONG.items())}
            for what, done in plays.items():
                with self.subTest(what):
                    text, status = done.result()
                    self.assertEqual((text.splitlines()[-1], status), ("1 failed", 1), text)
                    self.assertRegex(text, r"(?m)^ *expected: (?!ready)")  # and not because the port broke down or began late
            for vector, done in right.items():
                with self.subTest(f"the right port, {vector}"):
                    self.assertEqual(done.result()[1], 0, done.result()[0])


if __name__ == "__main__":
    unittest.main()
