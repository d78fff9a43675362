"""What `heirlock` says of locks in each state, which real processes bring about."""
import ctypes
import fcntl
import itertools
import json
import multiprocessing
import os
import pathlib
import platform
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
if os.geteuid() == 0:  # other users run it as well, who may not reach the build
    folder = tempfile.TemporaryDirectory()
    HEIRLOCK = shutil.copy(HEIRLOCK, folder.name)
    for path in folder.name, HEIRLOCK:
        os.chmod(path, 0o755)
MANUAL = pathlib.Path(__file__).parents[2] / "src/command/heirlock.1"
SHM = "/dev/shm/heirlock."
LOCK = (40, 8, b"N8heirlock13ReentrantLockE")
ACCOUNT = (64, 8, b"7Account")  # with a lock at offset 16
NOBODY = 100_000 + os.getpid()  # of no other program
PR_SET_PDEATHSIG, PR_SET_PTRACER = 1, 0x59616D61
CLONE_NEWNS, CLONE_NEWPID, MS_PRIVATE_AND_BELOW = 0x20000, 0x20000000, 0x44000
GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)
library = ctypes.CDLL(os.environ["HEIRLOCK_LIBRARY"])
counter = itertools.count()


def has_own_mounts():
    """Gives this process a /dev/shm of its own, so that `list` and `clean` see the tests' segments alone."""
    return (libc.unshare(CLONE_NEWNS) == 0 and libc.mount(b"none", b"/", None, MS_PRIVATE_AND_BELOW, None) == 0
            and libc.mount(b"test", b"/dev/shm", b"tmpfs", 0, b"mode=1777") == 0)


needs_root = unittest.skipUnless(has_own_mounts(), "this process may not make mounts and PID namespaces")


def enter_pid_namespace():
    assert libc.unshare(CLONE_NEWPID) == 0
    if (first := os.fork()) != 0:
        os.waitpid(first, 0)
        os._exit(0)


def opened(name, kind):
    """The address of the segment's object."""
    segment = (ctypes.c_uint64 * 3)()
    size, alignment, type_name = kind
    outcome = library.heirlock_segment_open_or_create(segment, name.encode(), ctypes.c_uint64(size),
                                                      ctypes.c_uint64(alignment), type_name)
    assert outcome > 0, (name, outcome)
    return segment[0]


def word_of(name, offset=0, new=None):
    """The word of the lock; it becomes the new one if that is given."""
    with open(SHM + name, "r+b", buffering=0) as file:
        at = struct.unpack_from("=I", file.read(16), 12)[0] + offset  # where the header says
        if new is not None:
            os.pwrite(file.fileno(), struct.pack("=I", new), at)
        return struct.unpack("=I", os.pread(file.fileno(), 4, at))[0]


class Worker:
    """A process that maps these segments, and whose second thread makes the calls that it is told."""

    def __init__(self, test, *names, kind=LOCK, at_first=lambda: None):
        self.pipe, there = multiprocessing.Pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                pathlib.Path("/proc/self/comm").write_text("worker")
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                at_first()
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # which a fork or setuid forgets
                libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1))  # heirlock, which Yama keeps from looking into siblings
                threading.Thread(target=self.serve, args=(there, {name: opened(name, kind) for name in names})).start()
                signal.pause()
            finally:
                os._exit(1)
        there.close()
        test.addCleanup(self.end)
        self.pipe.recv()
        children = pathlib.Path(f"/proc/{self.child}/task/{self.child}/children").read_text().split()
        self.pid = int(children[0]) if children else self.child  # at_first may have forked
        self.tid = max(int(task) for task in os.listdir(f"/proc/{self.pid}/task") if task != str(self.pid))

    @staticmethod
    def serve(pipe, objects):
        pipe.send("ready")
        while True:
            call, name, offset = pipe.recv()
            if call == "pretend_to_release":  # the lock is pending on the thread's robust list, and the thread runs
                head, size = ctypes.c_void_p(), ctypes.c_size_t()
                libc.syscall(GET_ROBUST_LIST, 0, ctypes.byref(head), ctypes.byref(size))
                ctypes.c_uint64.from_address(head.value + 16).value = objects[name] + 32
                pipe.send("done")
                while True:
                    pass
            pipe.send(getattr(library, "heirlock_" + call)(ctypes.c_void_p(objects[name] + offset)))

    def do(self, call, name, offset=0):
        self.pipe.send((call, name, offset))
        return self.pipe.recv()

    def wait_for(self, name, offset=0):
        """Begins to wait for the lock, for which nobody has waited before, and sleeps."""
        self.pipe.send(("acquire", name, offset))
        while not word_of(name, offset) >> 31:
            time.sleep(0.001)

    def kill(self):
        """It stays a zombie until it is ended."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOWAIT)

    def end(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.pipe.close()


def run(*arguments, **options):
    return subprocess.run([HEIRLOCK, *arguments], text=True, capture_output=True, **options)


class CommandTest(unittest.TestCase):
    def setUp(self):
        signal.alarm(120)  # which ends what hangs

    def name(self):
        name = f"test.command.{os.getpid()}.{next(counter)}"
        self.addCleanup(pathlib.Path(SHM + name).unlink, missing_ok=True)
        return name

    def seen(self, name, removed=False, **options):
        """The one lock of this name in `list --json`."""
        picture = json.loads(run("list", "--json", **options).stdout)
        [lock] = [lock for lock in picture["locks"] if lock["name"] == name and lock["removed"] == removed]
        return lock

    def shown(self, *arguments, **options):
        return run("show", *arguments, **options).stdout

    # --- The states of a lock ---

    # Spec: command.list, command.owner, command.show, command.looks
    def test_free_held_and_stopped(self):
        name = self.name()
        worker = Worker(self, name)
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["owner"], lock["type"], lock["layout"]), ("free", None, "lock", 1))
        self.assertEqual([user["pid"] for user in lock["mapped_by"]], [worker.pid])
        worker.do("acquire", name)
        worker.do("acquire", name)
        before = pathlib.Path(SHM + name).read_bytes()
        self.assertIn(f"gdb -p {worker.pid}", self.shown(name))
        [row] = [line for line in run("list", "--output", "depth,OWNER,name").stdout.splitlines() if name in line]
        self.assertEqual(row.split(), ["2", f"{worker.pid}/{worker.tid}", name])
        os.kill(worker.pid, signal.SIGSTOP)
        os.waitpid(worker.pid, os.WUNTRACED)
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["depth"]), ("held", 2))
        self.assertEqual(lock["owner"], {"is": "seen", "tid_there": worker.tid, "pid_there": worker.pid, "pid": worker.pid,
                                         "tid": worker.tid, "command": "worker", "state": "stopped"})
        self.assertEqual(json.loads(self.shown("--json", name))["locks"], [lock])
        self.assertIn(f"kill -CONT {worker.pid}", self.shown(name))
        self.assertEqual(pathlib.Path(SHM + name).read_bytes(), before)

    # Spec: command.list, command.show, command.owner
    def test_to_be_inherited_and_inherited_and_a_death_that_the_kernel_missed(self):
        name = self.name()
        owner, heir = Worker(self, name), Worker(self, name)
        owner.do("acquire", name)
        owner.kill()
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["owner"]), ("to be inherited", None))
        self.assertIn("--repaired", self.shown(name))
        heir.do("acquire", name)
        self.assertEqual(self.seen(name)["state"], "inherited")
        self.assertIn("must repair the data", self.shown(name))
        heir.do("repaired", name)
        self.assertEqual(self.seen(name)["state"], "held")
        word_of(name, new=owner.pid)
        dead = self.seen(name)["owner"]
        self.assertEqual((dead["is"], dead["state"]), ("dead", "zombie"))
        self.assertIn("notices the death", self.shown(name))

    # Spec: command.owner, command.show
    @needs_root
    def test_owner_in_another_pid_namespace(self):
        name = self.name()
        worker = Worker(self, name, at_first=enter_pid_namespace)
        worker.do("acquire", name)
        owner = self.seen(name)["owner"]
        self.assertEqual((owner["is"], owner["tid_there"], owner["pid_there"], owner["pid"], owner["tid"]),
                         ("seen", 2, 1, worker.pid, worker.tid))
        self.assertIn("cannot be used here", self.shown(name))
        namespace = os.open(f"/proc/{worker.pid}/ns/pid", os.O_RDONLY)  # so that no other gets its number
        self.addCleanup(os.close, namespace)
        worker.kill()
        self.assertEqual(self.seen(name)["state"], "to be inherited")
        word_of(name, new=1)  # as if the kernel had missed its death
        is_first_namespace = os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC  # whose root sees all, if nothing confines it
        self.assertIn(self.seen(name)["owner"]["is"], ["elsewhere", "namespace gone"][:1 + is_first_namespace])

    # Spec: command.inside, command.waiters, command.show
    def test_lock_in_a_larger_object(self):
        name = self.name()
        owner, waiter = (Worker(self, name, kind=ACCOUNT) for _ in range(2))
        self.assertIsNone(self.seen(name)["state"])
        owner.do("acquire", name, 16)
        waiter.wait_for(name, 16)
        lock = self.seen(name)
        self.assertEqual((lock["offset"], lock["owner"]["pid"], lock["type"]), (16, owner.pid, "Account"))
        self.assertEqual([(other["pid"], other["tid"]) for other in lock["waiters"]], [(waiter.pid, waiter.tid)])
        self.assertIn(f"{name}+16", self.shown(name))
        owner.do("release", name, 16)
        waiter.pipe.recv()
        waiter.do("release", name, 16)
        self.assertIn("The lock is free", self.shown(name, "--offset", "16"))

    # Spec: command.show
    def test_file_that_outlives_a_boot(self):
        with tempfile.NamedTemporaryFile(dir=".") as file:
            if subprocess.check_output(["stat", "-fc%T", file.name], text=True) == "tmpfs\n":
                self.skipTest("this folder lies on a tmpfs")
            file.write(struct.pack("=IIIIQQQ", os.getpid(), 1, os.stat("/proc/self/ns/pid").st_ino, 0, 1 << 40, 0, 0) + b"\xff" * 40)
            file.flush()
            self.assertIn("outlives a boot", self.shown(file.name))
            self.assertIn("no lock at this place", self.shown(file.name, "--offset", "40"))
            os.utime(file.name, (0, 0))
            self.assertIn("before this boot", self.shown(file.name))

    # --- Who waits for whom ---

    # Spec: command.deadlock, command.waiters, command.show, command.json
    def test_deadlock_of_three(self):
        names = [self.name() for _ in range(3)]
        workers = [Worker(self, *names) for _ in names]
        for worker, name in zip(workers, names):
            worker.do("acquire", name)
        for worker, name in zip(workers, names[1:]):
            worker.wait_for(name)
        self.assertNotIn("DEADLOCK", self.shown(names[0]))
        workers[2].wait_for(names[0])
        links = {f"worker {worker.pid}/{worker.tid} holds {names[i]}, waits for {names[(i + 1) % 3]}" for i, worker in enumerate(workers)}
        [line] = [line for line in run("list").stdout.splitlines() if line.startswith("DEADLOCK") and names[0] in line]
        self.assertEqual(set(line[len("DEADLOCK: "):].split("; ")), links)
        self.assertIn("part of a deadlock", self.shown(names[0]))
        text = self.shown("--json", names[0])
        self.assertEqual({link["pid"] for link in json.loads(text)["deadlocks"][0]}, {worker.pid for worker in workers})
        keys = r'"(\w+)":'
        documented = MANUAL.read_text().partition(".SS list and show")[2].partition(".fi")[0]
        self.assertEqual(set(re.findall(keys, text)), set(re.findall(keys, documented)))

    # Spec: command.deadlock
    def test_who_has_just_released_a_lock_is_in_no_deadlock(self):
        one, other = self.name(), self.name()
        waiter, runner = Worker(self, one, other), Worker(self, one, other)
        waiter.do("acquire", one)
        runner.do("acquire", other)
        waiter.wait_for(other)
        runner.do("pretend_to_release", one)  # which the waiter has taken since
        text = run("list").stdout
        self.assertIn(f"{waiter.pid}/{waiter.tid} ", text)
        self.assertNotIn("DEADLOCK", text)

    # Spec: command.watch
    def test_watch_shows_the_same_until_q(self):
        name = self.name()
        owner, waiter = Worker(self, name), Worker(self, name)
        owner.do("acquire", name)
        waiter.wait_for(name)
        for age, end in ("[1-9]", b"q"), ("[0-9]", b"\x03"):  # Ctrl-C, too, leaves the terminal as it was
            terminal, inside = pty.openpty()
            before = termios.tcgetattr(terminal)
            child = subprocess.Popen([HEIRLOCK, "watch"], stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
            os.close(inside)
            self.addCleanup(os.close, terminal)
            text = b""
            while not re.search(rf"{waiter.pid}/{waiter.tid} \({age}".encode(), text):
                text += os.read(terminal, 10000)
            os.write(terminal, end)
            self.assertEqual(child.wait(), 0)
            self.assertEqual(termios.tcgetattr(terminal), before)

    # --- What cannot be seen, and removal ---

    # Spec: command.unseen, command.list
    @needs_root
    def test_processes_that_cannot_be_looked_into(self):
        name, of_root = self.name(), self.name()
        worker = Worker(self, name, at_first=lambda: os.setuid(NOBODY))  # the kernel hides one that has been root
        worker.do("acquire", name)
        lock = self.seen(name, user=NOBODY)
        self.assertEqual((lock["state"], lock["owner"]["pid"], lock["mapped_by"]), ("held", worker.pid, []))
        self.assertIn("cannot examine", run("list", user=NOBODY).stderr)
        run("run", of_root, "true")
        self.assertIn("Permission denied", self.shown(of_root, user=NOBODY))
        self.assertNotIn(of_root, run("list", user=NOBODY).stdout)

    # Spec: command.remove, command.list, command.show
    def test_remove_refuses_what_is_mapped_unless_forced(self):
        name = self.name()
        run("run", name, "true")  # creates the segment, whose creator's mapping would have no name
        old = Worker(self, name)
        old.do("acquire", name)
        refused = run("remove", name)
        self.assertEqual((refused.returncode, f"worker {old.pid}" in refused.stderr), (1, True))
        self.assertEqual(self.seen(name)["owner"]["pid"], old.pid)
        self.assertEqual(run("remove", "--force", name).returncode, 0)
        self.assertEqual(run("remove", name).returncode, 1)
        Worker(self, name)
        self.assertEqual(self.seen(name)["state"], "free")
        lock = self.seen(name, removed=True)
        self.assertEqual((lock["state"], lock["owner"]["pid"]), ("held", old.pid))
        self.assertEqual([user["pid"] for user in lock["mapped_by"]], [old.pid])
        self.assertIn("restart these processes", self.shown(name))

    # A process that opened the lock as root and became another user, in a container with hidepid or without
    # CAP_SYS_PTRACE (or CAP_SYS_ADMIN or CAP_PERFMON, 38, which let a newer kernel read /proc/PID/maps).
    # Spec: command.remove
    @needs_root
    def test_remove_refuses_what_a_container_hides(self):
        name = self.name()
        script = f"""
import mmap, os, signal, subprocess
subprocess.run([{HEIRLOCK!r}, "run", {name!r}, "true"])
to_read, to_write = os.pipe()
if not os.fork():
    memory = mmap.mmap(os.open({SHM + name!r}, os.O_RDWR), 0)
    os.setuid({NOBODY})
    os.write(to_write, b".")
    signal.pause()
os.read(to_read, 1)
subprocess.run([{HEIRLOCK!r}, "remove", {name!r}])
"""
        for option, reason in ("rw", "cannot be examined"), ("hidepid=2", "hidepid"):
            refused = subprocess.run(
                ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", f'mount -o remount,{option} /proc; exec "$@"', "sh",
                 "setpriv", "--bounding-set=-sys_ptrace,-sys_admin,-cap_38", sys.executable, "-c", script],
                capture_output=True, text=True).stderr
            self.assertIn(reason, refused)
            self.assertTrue(os.path.exists(SHM + name))

    # Spec: command.clean, command.remove
    @needs_root
    def test_clean_removes_what_nobody_can_have_mapped(self):
        name = self.name()
        dead = Worker(self, name, at_first=lambda: os.setuid(NOBODY))
        dead.do("acquire", name)
        dead.kill()
        for other in "other", "clears\x1b[2J":  # which would clear a terminal
            path = pathlib.Path(SHM + other)
            path.write_text("no segment")
            os.chown(path, NOBODY, NOBODY)
            self.addCleanup(path.unlink)
        self.assertIn(f"{name} would be removed", run("clean", "--dry-run", user=NOBODY).stdout)
        again = Worker(self, name, at_first=lambda: os.setuid(NOBODY))
        self.assertIn(f"{name} stays: worker {again.pid} may have it mapped", run("clean", user=NOBODY).stdout)
        self.assertIn(f"{name} stays: mapped by worker {again.pid}", run("clean").stdout)
        refused = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o mode=1733 tmpfs /dev/shm; exec setpriv "$@"', "sh",
                                  f"--reuid={NOBODY}", "--clear-groups", HEIRLOCK, "list"], capture_output=True, text=True)
        self.assertIn("Permission denied", refused.stderr)
        self.assertEqual(refused.returncode, 1)
        again.kill()
        text = run("clean", user=NOBODY).stdout
        self.assertIn("clears?[2J stays", text)
        self.assertIn("other stays", text)
        self.assertFalse(os.path.exists(SHM + name))


if __name__ == "__main__":
    unittest.main()
