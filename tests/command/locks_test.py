"""What `heirlock` says of locks in each state, which real processes bring about."""
import contextlib
import ctypes
import json
import os
import pathlib
import platform
import pty
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
README = pathlib.Path(__file__).parents[2] / "src/command/README.md"
SHM = "/dev/shm/heirlock."
LIMIT = 60  # seconds within which what must come comes
LOCK = (40, 8, b"N8heirlock13ReentrantLockE")
ACCOUNT = (64, 8, b"7Account")  # with a lock at offset 16
NOBODY = 65534
PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_PRIVATE_AND_BELOW = 0x44000

libc = ctypes.CDLL(None, use_errno=True)
library = ctypes.CDLL(os.environ["HEIRLOCK_LIBRARY"])


class Segment(ctypes.Structure):
    _fields_ = [("object", ctypes.c_void_p), ("memory", ctypes.c_void_p), ("size", ctypes.c_uint64)]


def opened(name, kind=LOCK):
    segment = Segment()
    size, alignment, type_name = kind
    outcome = library.heirlock_segment_open_or_create(ctypes.byref(segment), name.encode(), ctypes.c_uint64(size),
                                                      ctypes.c_uint64(alignment), type_name)
    assert outcome > 0, (name, outcome)
    return segment.object


def has_own_mounts():
    """Gives this process a /dev/shm of its own, so that `list` and `clean` see the tests' segments alone."""
    return (libc.unshare(CLONE_NEWNS) == 0 and libc.mount(b"none", b"/", None, MS_PRIVATE_AND_BELOW, None) == 0
            and libc.mount(b"test", b"/dev/shm", b"tmpfs", 0, b"mode=1777") == 0)


OWN_MOUNTS = has_own_mounts()


def make(name):
    """By a process that ends, so that nobody has it mapped."""
    if (child := os.fork()) == 0:
        opened(name)
        os._exit(0)
    os.waitpid(child, 0)


def set_pending(lock):
    """Marks the lock, on the calling thread's robust list, as the one that it takes or releases."""
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    get_robust_list = {"x86_64": 274, "aarch64": 100}[platform.machine()]
    assert libc.syscall(get_robust_list, 0, ctypes.byref(head), ctypes.byref(size)) == 0
    ctypes.c_uint64.from_address(head.value + 16).value = lock + 32


class Worker:
    """A process that does what it is told: (call, address). It maps the segments that it is given."""

    def __init__(self, test, *names, kind=LOCK, user=None, new_pid_namespace=False):
        to_read, self.to_write = os.pipe()
        self.from_read, answers = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if new_pid_namespace:
                    assert libc.unshare(CLONE_NEWPID) == 0
                    if (first := os.fork()) != 0:
                        os.waitpid(first, 0)
                        os._exit(0)
                os.close(self.to_write)
                self.serve(os.fdopen(to_read), answers, names, kind, user)
            finally:
                os._exit(1)
        os.close(to_read)
        os.close(answers)
        test.addCleanup(self.end)
        self.pid = self.child
        self.answer()
        if new_pid_namespace:
            with open(f"/proc/{self.child}/task/{self.child}/children") as children:
                self.pid = int(children.read())

    @staticmethod
    def serve(commands, answers, names, kind, user):
        with open("/proc/self/comm", "w") as comm:
            comm.write("worker")
        if user is not None:
            os.setgroups([])
            os.setuid(user)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        objects = {name: opened(name, kind) for name in names}
        os.write(answers, b"\n")
        for line in commands:
            call, name, offset = line.split()
            if call == "pretend-to-release":
                set_pending(objects[name])
                os.write(answers, b"\n")
                while True:
                    pass

            def do():
                outcome = getattr(library, "heirlock_" + call.split("-")[0])(ctypes.c_void_p(objects[name] + int(offset)))
                os.write(answers, f"{outcome}\n".encode())
                if call.endswith("-by-thread"):
                    threading.Event().wait()
            if call.endswith("-by-thread"):
                threading.Thread(target=do).start()
            else:
                do()

    def begin(self, call, name, offset=0):
        os.write(self.to_write, f"{call} {name} {offset}\n".encode())

    def answer(self):
        answer = os.read(self.from_read, 100)
        assert answer, "the worker died"
        return answer

    def do(self, *call):
        self.begin(*call)
        return self.answer()

    def kill(self):
        """It stays a zombie until it is ended."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: state_of(self.pid) in ("Z", None))

    def end(self):
        if state_of(self.pid):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.child, 0)
        os.close(self.to_write)
        os.close(self.from_read)


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def until(is_so):
    end = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < end, "what must come did not"
        time.sleep(0.01)


def run(*arguments, user=None, **options):
    def become():
        os.setgroups([])
        os.setuid(user)
    return subprocess.run([HEIRLOCK, *arguments], text=True, timeout=LIMIT, preexec_fn=become if user is not None else None,
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


class CommandTest(unittest.TestCase):
    def setUp(self):
        signal.alarm(2 * LIMIT)  # which ends what hangs
        self.names = 0

    def name(self):
        self.names += 1
        name = f"test.command.{os.getpid()}.{self._testMethodName}.{self.names}"
        self.addCleanup(lambda: os.path.exists(SHM + name) and os.unlink(SHM + name))
        return name

    def seen(self, name, removed=False, user=None):
        """The one lock of this name in `list --json`, which is the one of `show --json`, and the whole picture."""
        picture = json.loads(run("list", "--json", user=user).stdout)
        locks = [lock for lock in picture["locks"] if lock["name"] == name and lock["removed"] == removed]
        self.assertEqual(len(locks), 1, picture)
        shown = [lock for lock in json.loads(run("show", "--json", name, user=user).stdout)["locks"]
                 if lock["removed"] == removed]
        self.assertEqual(len(shown), 1)
        for key in "name", "offset", "state", "depth", "pid_namespace":
            self.assertEqual(shown[0][key], locks[0][key])
        return locks[0]

    def shown(self, *arguments, user=None):
        return run("show", *arguments, user=user).stdout

    def wait_for(self, waiter, name, offset=0):
        """Lets the worker begin to wait, and be seen at it."""
        waiter.begin("acquire", name, offset)
        until(lambda: waiter.pid in [other["pid"] for lock in json.loads(run("list", "--json").stdout)["locks"]
                                     if lock["name"] == name and lock["offset"] == offset for other in lock["waiters"]])

    def write_lock(self, name, form, offset, value):
        with open(SHM + name, "r+b") as file:
            at = struct.unpack_from("=I", file.read(16), 12)[0]
            file.seek(at + offset)
            file.write(struct.pack(form, value))

    # --- The states of a lock ---

    # Spec: command.list, command.owner, command.show
    def test_free_and_held(self):
        name = self.name()
        worker = Worker(self, name)
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["owner"], lock["type"], lock["layout"]), ("free", None, "lock", 1))
        self.assertEqual([user["pid"] for user in lock["mapped_by"]], [worker.pid])
        worker.do("acquire", name)
        worker.do("acquire", name)
        until(lambda: state_of(worker.pid) == "S")
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["depth"]), ("held", 2))
        self.assertEqual(lock["owner"], {"is": "seen", "tid_there": worker.pid, "pid_there": worker.pid, "pid": worker.pid,
                                         "tid": worker.pid, "command": "worker", "state": "sleeping"})
        self.assertIn(f"gdb -p {worker.pid}", self.shown(name))
        row = next(line for line in run("list", "--output", "depth,OWNER,name").stdout.splitlines() if name in line)
        self.assertEqual(row.split(), ["2", str(worker.pid), name])

    # Spec: command.owner
    def test_thread_that_owns(self):
        name = self.name()
        worker = Worker(self, name)
        worker.do("acquire-by-thread", name)
        owner = self.seen(name)["owner"]
        self.assertEqual({owner["pid"], owner["tid"]}, set(map(int, os.listdir(f"/proc/{worker.pid}/task"))))
        self.assertEqual(owner["pid"], worker.pid)
        self.assertIn(f"{worker.pid}/{owner['tid']}", run("list").stdout)

    # Spec: command.list, command.show
    def test_inherited_and_poisoned(self):
        name = self.name()
        owner, heir = Worker(self, name), Worker(self, name)
        owner.do("acquire", name)
        owner.kill()
        lock = self.seen(name)
        self.assertEqual((lock["state"], lock["owner"]), ("to be inherited", None))
        self.assertIn("--repaired", self.shown(name))
        heir.do("acquire", name)
        self.assertEqual(self.seen(name)["state"], "poisoned")
        self.assertIn("must repair the data", self.shown(name))
        heir.do("repaired", name)
        self.assertEqual(self.seen(name)["state"], "held")

    # Spec: command.owner, command.show
    def test_stopped(self):
        name = self.name()
        worker = Worker(self, name)
        worker.do("acquire", name)
        os.kill(worker.pid, signal.SIGSTOP)
        until(lambda: state_of(worker.pid) == "T")
        self.assertEqual(self.seen(name)["owner"]["state"], "stopped")
        self.assertIn(f"kill -CONT {worker.pid}", self.shown(name))

    # Spec: command.owner, command.show
    def test_zombie_that_the_kernel_missed(self):
        name = self.name()
        worker = Worker(self, name)
        worker.do("acquire", name)
        worker.do("release", name)
        worker.kill()
        self.write_lock(name, "=I", 0, worker.pid)
        owner = self.seen(name)["owner"]
        self.assertEqual((owner["is"], owner["state"]), ("dead", "zombie"))
        self.assertIn("notices the death", self.shown(name))

    # Spec: command.owner, command.show
    def test_other_pid_namespace(self):
        name = self.name()
        if os.geteuid() != 0:
            self.skipTest("only root may make a PID namespace")
        worker = Worker(self, name, new_pid_namespace=True)
        worker.do("acquire", name)
        owner = self.seen(name)["owner"]
        self.assertEqual((owner["is"], owner["tid_there"], owner["pid_there"], owner["pid"]), ("seen", 1, 1, worker.pid))
        self.assertIn("cannot be used here", self.shown(name))
        worker.kill()
        until(lambda: state_of(worker.pid) is None)
        self.assertEqual(self.seen(name)["state"], "to be inherited")
        self.write_lock(name, "=I", 0, 1)  # as if the kernel had missed its death
        self.assertEqual(self.seen(name)["owner"]["is"], "namespace gone" if sees_all_namespaces() else "elsewhere")

    # Spec: command.list, command.show
    def test_removed_name(self):
        name = self.name()
        make(name)  # its maker's mapping has no name
        old = Worker(self, name)
        old.do("acquire", name)
        os.unlink(SHM + name)
        new = Worker(self, name)
        self.assertEqual(self.seen(name)["state"], "free")
        lock = self.seen(name, removed=True)
        self.assertEqual((lock["state"], lock["owner"]["pid"]), ("held", old.pid))
        self.assertIn("restart these processes", self.shown(name))
        self.assertNotIn(new.pid, [user["pid"] for user in lock["mapped_by"]])

    # Spec: command.inside, command.waiters
    def test_lock_in_a_larger_object(self):
        name = self.name()
        owner, waiter = (Worker(self, name, kind=ACCOUNT) for _ in range(2))
        self.assertIsNone(self.seen(name)["state"])
        owner.do("acquire", name, 16)
        lock = self.seen(name)
        self.assertEqual((lock["offset"], lock["owner"]["pid"], lock["type"]), (16, owner.pid, "Account"))
        self.wait_for(waiter, name, 16)
        self.assertIn(f"{name}+16", self.shown(name))
        owner.do("release", name, 16)
        waiter.answer()
        waiter.do("release", name, 16)
        self.assertIn("The lock is free", self.shown(name, "--offset", "16"))

    # Spec: command.show
    def test_file_that_outlives_a_boot(self):
        with tempfile.NamedTemporaryFile(dir=".") as file:
            if subprocess.run(["stat", "-fc%T", file.name], capture_output=True, text=True).stdout.strip() == "tmpfs":
                self.skipTest("this folder lies on a tmpfs")
            file.write(struct.pack("=IIIIQQQ", os.getpid(), 1, os.stat("/proc/self/ns/pid").st_ino, 0, 1 << 40, 0, 0) + b"\xff" * 40)
            file.flush()
            self.assertIn("outlives a boot", self.shown(file.name))
            self.assertIn("no lock at this place", self.shown(file.name, "--offset", "40"))
            os.utime(file.name, (0, 0))
            self.assertIn("before this boot", self.shown(file.name))

    # Spec: command.json
    def test_json_has_the_documented_fields(self):
        name = self.name()
        worker = Worker(self, name)
        worker.do("acquire", name)
        lock = self.seen(name)
        found = {*lock, *(f"owner.{key}" for key in lock["owner"]), *(f"mapped_by.{key}" for key in lock["mapped_by"][0])}
        documented = re.findall(r"^\| `([a-z_.]+)` \|", README.read_text(), re.MULTILINE)
        self.assertEqual(sorted(found), sorted(documented))

    # --- Who waits for whom ---

    # Spec: command.deadlock, command.waiters, command.show
    def test_deadlocks(self):
        for count in 2, 3:
            names = [self.name() for _ in range(count)]
            workers = [Worker(self, *names) for _ in range(count)]
            for worker, name in zip(workers, names):
                worker.do("acquire", name)
            for i in range(1, count):
                self.wait_for(workers[i], names[(i + 1) % count])
            self.assertNotIn("DEADLOCK", self.shown(names[0]))
            self.wait_for(workers[0], names[1])
            links = {f"worker {worker.pid} holds {names[i]}, waits for {names[(i + 1) % count]}"
                     for i, worker in enumerate(workers)}
            line = next(line for line in run("list").stdout.splitlines() if line.startswith("DEADLOCK") and names[0] in line)
            self.assertEqual(set(line[len("DEADLOCK: "):].split("; ")), links)
            self.assertIn("part of a deadlock", self.shown(names[0]))
            self.assertEqual(sorted(link["pid"] for links in json.loads(run("list", "--json").stdout)["deadlocks"]
                                    for link in links if link["holds"] in names), sorted(worker.pid for worker in workers))

    # Spec: command.deadlock
    def test_who_has_just_released_a_lock_is_in_no_deadlock(self):
        one, other = self.name(), self.name()
        waiter, runner = Worker(self, one, other), Worker(self, one, other)
        waiter.do("acquire", one)
        runner.do("acquire", other)
        self.wait_for(waiter, other)
        runner.do("pretend-to-release", one)  # which the waiter has taken since
        text = run("list").stdout
        self.assertIn(f"{waiter.pid} ", text)
        self.assertNotIn("DEADLOCK", text)

    # Spec: command.watch
    def test_watch_shows_the_same_until_q(self):
        name = self.name()
        owner, waiter = Worker(self, name), Worker(self, name)
        owner.do("acquire", name)
        self.wait_for(waiter, name)
        for end in b"q", b"\x03":  # Ctrl-C, which too leaves the terminal as it was
            child, terminal = pty.fork()
            if child == 0:
                os.execv(HEIRLOCK, [HEIRLOCK, "watch"])
            self.addCleanup(os.close, terminal)
            before = termios.tcgetattr(terminal)
            text = b""
            while not re.search(rf"{waiter.pid} \([1-9]".encode(), text):  # of the second look, which knows the first
                text += os.read(terminal, 10000)
            os.write(terminal, end)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertEqual(termios.tcgetattr(terminal), before)

    # --- What cannot be seen ---

    # Spec: command.unseen, command.remove, command.list
    @unittest.skipIf(os.geteuid() != 0, "only root may run a program as another user")
    def test_processes_that_cannot_be_looked_into(self):
        name = self.name()
        worker = Worker(self, name, user=NOBODY)  # the kernel hides one that has been root
        worker.do("acquire", name)
        lock = self.seen(name, user=NOBODY)
        self.assertEqual((lock["state"], lock["owner"]["pid"], lock["mapped_by"]), ("held", worker.pid, []))
        self.assertIn("cannot examine", run("list", user=NOBODY).stderr)
        refused = run("remove", name, user=NOBODY)
        self.assertEqual((refused.returncode, str(worker.pid) in refused.stderr), (1, True))
        of_root = self.name()
        make(of_root)
        self.assertIn("Permission denied", self.shown(of_root, user=NOBODY))
        self.assertNotIn(of_root, run("list", user=NOBODY).stdout)

    # --- Removal ---

    # Spec: command.remove
    def test_remove_refuses_what_is_mapped(self):
        name = self.name()
        worker = Worker(self, name)
        refused = run("remove", name)
        self.assertEqual((refused.returncode, f"worker {worker.pid}" in refused.stderr), (1, True))
        self.assertTrue(os.path.exists(SHM + name))
        self.assertEqual(run("remove", "--force", name).returncode, 0)
        self.assertFalse(os.path.exists(SHM + name))
        self.assertEqual(run("remove", name).returncode, 1)

    # Spec: command.remove
    @unittest.skipUnless(OWN_MOUNTS, "this system permits no /dev/shm of the test's own")
    def test_remove_refuses_what_it_cannot_see(self):
        name = self.name()
        Worker(self, name, user=NOBODY)
        os.chmod("/dev/shm", 0o1733)
        self.addCleanup(os.chmod, "/dev/shm", 0o1777)
        refused = run("remove", name, user=NOBODY)
        self.assertEqual((refused.returncode, "Permission denied" in refused.stderr), (1, True))
        self.assertTrue(os.path.exists(SHM + name))

    # A process that opened the lock as root and became another user, in a container with hidepid or without
    # CAP_SYS_PTRACE (or CAP_SYS_ADMIN or CAP_PERFMON, 38, which let a newer kernel read /proc/PID/maps).
    # Spec: command.remove
    @unittest.skipUnless(OWN_MOUNTS, "this system permits no mounts of the test's own")
    def test_remove_refuses_what_a_container_hides(self):
        for option, reason in ("rw", "cannot be examined"), ("hidepid=2", "hidepid"):
            name = self.name()
            script = f"""
import mmap, os, signal, subprocess
subprocess.run([{HEIRLOCK!r}, "run", {name!r}, "--", "true"], check=True)
to_read, to_write = os.pipe()
if not os.fork():
    memory = mmap.mmap(os.open({SHM + name!r}, os.O_RDWR), 0)
    os.setuid({NOBODY})
    os.write(to_write, b".")
    signal.pause()
os.read(to_read, 1)
subprocess.run([{HEIRLOCK!r}, "remove", {name!r}])
"""
            text = subprocess.run(
                ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", f'mount -o remount,{option} /proc; exec "$@"', "sh",
                 "setpriv", "--bounding-set=-sys_ptrace,-sys_admin,-cap_38", sys.executable, "-c", script],
                capture_output=True, text=True, timeout=LIMIT).stderr
            self.assertIn(reason, text)
            self.assertTrue(os.path.exists(SHM + name))

    # Spec: command.clean
    @unittest.skipUnless(OWN_MOUNTS, "this system permits no /dev/shm of the test's own")
    def test_clean(self):
        used, unused = self.name(), self.name()
        worker = Worker(self, used, unused, user=NOBODY)
        worker.do("acquire", used)
        worker.do("acquire", unused)
        garbage = SHM + "garbage\x1b[2J"  # which would clear a terminal
        with open(garbage, "w") as file:
            file.write("no segment")
        os.chown(garbage, NOBODY, NOBODY)
        self.addCleanup(os.unlink, garbage)
        worker.kill()
        # In the child, since processes that have been root are hidden from NOBODY.
        holder = subprocess.Popen(["sleep", str(LIMIT)], preexec_fn=lambda: os.setuid(NOBODY))
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        dry = run("clean", "--dry-run", user=NOBODY).stdout
        self.assertIn(f"{unused} would be removed", dry)
        self.assertTrue(os.path.exists(SHM + unused))
        again = Worker(self, used, user=NOBODY)
        self.assertIn(f"{used} stays: worker {again.pid} may have it mapped", run("clean", "--dry-run", user=NOBODY).stdout)
        self.assertIn(f"{used} stays: mapped by worker {again.pid}", run("clean").stdout)
        again.kill()
        self.assertIn("garbage?[2J stays", run("clean", user=NOBODY).stdout)
        self.assertEqual([os.path.exists(SHM + name) for name in (used, unused)], [False, False])
        self.assertTrue(os.path.exists(garbage))

    # --- All of it ---

    # Spec: command.looks
    def test_looking_changes_nothing(self):
        name = self.name()
        worker = Worker(self, name)
        worker.do("acquire", name)
        with open(SHM + name, "rb") as file:
            before = file.read()
        for command in (["list"], ["list", "--json"], ["show", name], ["clean", "--dry-run"], ["remove", name]):
            run(*command)
            with open(SHM + name, "rb") as file:
                self.assertEqual(file.read(), before, command)

    # Spec: command.list
    @unittest.skipUnless(OWN_MOUNTS, "this system permits no /dev/shm of the test's own")
    def test_a_second_for_1000_segments_and_200_processes(self):
        names = [self.name() for _ in range(1000)]
        to_read, to_write = os.pipe()
        if (leader := os.fork()) == 0:
            os.setpgid(0, 0)
            for name in names:
                opened(name)
            any(os.fork() == 0 for _ in range(199))  # and each has them all mapped
            os.write(to_write, b".")
            signal.pause()
        self.addCleanup(os.waitpid, leader, 0)
        self.addCleanup(os.killpg, leader, signal.SIGKILL)
        self.assertEqual(sum(len(os.read(to_read, 1)) for _ in range(200)), 200)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = run("list").stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(sum(" 200 " in line for line in text.splitlines()), 1000)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # a loaded machine is no reason to fail
        self.assertLess(spent, 1)
        print(f"list of 1000 segments and 200 processes: {spent:.2f} s of a processor")

    # Spec: command.usage
    def test_wrong_usage_is_told(self):
        for arguments in (["list", "--no"], ["list", "--output", "size"], ["show"], ["show", "--offset", "3", "a"], ["no"], []):
            self.assertEqual((arguments, run(*arguments).returncode), (arguments, 2))
        for missing in "no.such.lock", "./no.such.file":
            self.assertEqual(run("show", missing).returncode, 1)

    # Spec: command.usage
    def test_output_that_is_lost_is_told(self):
        with open("/dev/full", "w") as full:
            for arguments in ["list"], ["list", "--json"], ["clean", "--help"], ["--version"]:
                self.assertEqual((arguments, run(*arguments, stdout=full).returncode), (arguments, 1))


def sees_all_namespaces():
    """Whether this is the machine's first PID namespace, and all processes' may be read."""
    try:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                os.stat(f"/proc/{pid}/ns/pid")
    except PermissionError:
        return False
    return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC


if __name__ == "__main__":
    unittest.main(verbosity=2)
