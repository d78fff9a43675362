"""heirlock doctor on this machine, in sandboxes that refuse a call, and in containers that lack something."""
import ctypes
import json
import os
import platform
import struct
import subprocess
import time
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
VERDICTS = ["ok", "degraded", "unusable"]  # by exit status

CALLS = {
    "x86_64": {"tgkill": 234, "get_robust_list": 274, "linkat": 265, "ptrace": 101, "set_robust_list": 273},
    "aarch64": {"tgkill": 131, "get_robust_list": 100, "linkat": 37, "ptrace": 117, "set_robust_list": 99},
}[platform.machine()]
ERRNO, KILL = 0x00050000, 0x80000000
PRETENDS_TO_WORK = ERRNO + 0


def sandbox(call, answer):
    """A function that has the calling process's calls of this name answered so from then on, by seccomp(2)."""
    instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, CALLS[call]), (0x06, 0, 0, answer), (0x06, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        _ = buffer  # which lives as long as this
        if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, filter_) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")

    return enter


def examine(*around, **options):
    """What `heirlock doctor --json` says in the surroundings of these arguments: its checks by name, the worst."""
    began = time.monotonic()
    done = subprocess.run([*around, HEIRLOCK, "doctor", "--json"], capture_output=True, text=True, timeout=60, **options)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["verdict"] == VERDICTS[done.returncode], done
    assert time.monotonic() - began < 2
    return {check["check"]: check for check in said["checks"]}, VERDICTS.index(said["verdict"])


def container(script, *options):
    """The command that runs another where this script of sh has been run, in mounts of its own."""
    if os.geteuid() != 0:
        options = ("--map-root-user", *options)
    return ["unshare", "--mount", *options, "sh", "-ec", f'{script}; exec "$@"', "sh"]


def can_have_containers():
    return subprocess.run([*container("mount -t tmpfs tmpfs /run"), "true"], stderr=subprocess.DEVNULL).returncode == 0


class Doctor(unittest.TestCase):
    # Spec: command.doctor
    def test_it_says_in_text_what_it_says_in_json(self):
        checks, worst = examine()
        said = subprocess.run([HEIRLOCK, "doctor"], capture_output=True, text=True, timeout=60)
        self.assertEqual(said.returncode, worst)
        lines = said.stdout.splitlines()
        self.assertEqual(len(lines), len(checks))
        for line, check in zip(lines, checks.values()):
            self.assertEqual(line.split()[0], check["verdict"])
            self.assertIn(check["check"], line)
            self.assertEqual(check["consequence"] is None, check["verdict"] == "ok")
        self.assertEqual(checks["a lock"]["verdict"], "ok")  # or no other test would run here

    # Spec: command.doctor
    def test_it_names_a_call_that_a_sandbox_refuses(self):
        eperm = 1
        for call, verdict, consequence in (("get_robust_list", "unusable", "no lock can be acquired"),
                                           ("tgkill", "degraded", "a lock that another thread holds may be unmapped")):
            with self.subTest(call):
                checks, worst = examine(preexec_fn=sandbox(call, ERRNO + eperm))
                self.assertEqual(checks[call]["verdict"], verdict)
                self.assertEqual(checks[call]["consequence"], consequence)
                self.assertIn("not permitted", checks[call]["found"])
                self.assertEqual(VERDICTS[worst], verdict)
                self.assertEqual("a killed owner's lock" in checks, verdict == "degraded")  # else it means nothing
        checks, _ = examine(preexec_fn=sandbox("ptrace", ERRNO + eperm))
        self.assertEqual(checks["attaching a debugger"]["verdict"], "degraded")

    # Spec: command.doctor
    def test_it_outlives_a_sandbox_that_kills(self):
        checks, worst = examine(preexec_fn=sandbox("linkat", KILL))
        for check in "linkat", "a named lock":
            self.assertEqual(checks[check]["verdict"], "unusable")
            self.assertIn("kills", checks[check]["found"])
        self.assertEqual(worst, VERDICTS.index("unusable"))

    # As a system that has the call and does nothing at a death.
    # Spec: command.doctor
    def test_it_sees_that_nobody_walks_over_a_killed_owners_locks(self):
        checks, _ = examine(preexec_fn=sandbox("set_robust_list", PRETENDS_TO_WORK))
        self.assertEqual(checks["a killed owner's lock"]["verdict"], "unusable")
        self.assertEqual(checks["waking a killed owner's waiter"]["verdict"], "degraded")
        self.assertEqual(checks["waking after a kill in a release"]["verdict"], "degraded")


@unittest.skipUnless(can_have_containers(), "this system lets a process have no mounts of its own")
class DoctorInAContainer(unittest.TestCase):
    def assert_said(self, around, check, verdict, *words):
        said = examine(*around)[0][check]
        self.assertEqual(said["verdict"], verdict, said)
        for word in words:
            self.assertIn(word, said["found"])

    # Spec: command.doctor
    def test_proc_is_missing_or_another_namespaces(self):
        self.assert_said(container("mount -t tmpfs tmpfs /proc"), "/proc", "degraded", "not mounted")
        self.assert_said(container("true", "--pid", "--fork"), "/proc", "degraded", "another PID namespace")
        inside = container("true", "--pid", "--fork", "--mount-proc")
        self.assert_said(inside, "/proc", "ok")
        self.assert_said(inside, "PID namespace", "ok", "a container's")

    # Spec: command.doctor
    def test_dev_shm_is_full_or_not_writable_or_lets_others_remove_names(self):
        bad = container("mount -t tmpfs -o mode=777,size=64k tmpfs /dev/shm")
        self.assert_said(bad, "/dev/shm's mode", "degraded", "0777")
        self.assert_said(bad, "/dev/shm's room", "degraded", "0 of 0 MB")
        self.assert_said(bad, "a named lock", "ok")
        read_only = container("mount -t tmpfs -o ro tmpfs /dev/shm")
        self.assert_said(read_only, "a named lock", "unusable", "/dev/shm")
        on_disk = container("mount -t proc proc /dev/shm", "--pid", "--fork")
        self.assert_said(on_disk, "/dev/shm", "degraded", "not a tmpfs")

    # Spec: command.doctor
    def test_systemd_removes_an_ordinary_users_files_at_logout(self):
        ordinary_user = ["unshare", "--user", "--map-user=1000"]

        def logind(configuration="true"):
            return container("mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/users /run/systemd/logind.conf.d;"
                             f"mount -t tmpfs tmpfs /etc/systemd; {configuration}") + ordinary_user

        check = "RemoveIPC of systemd-logind"
        self.assert_said(container("mount -t tmpfs tmpfs /run") + ordinary_user, check, "ok", "no systemd")
        self.assert_said(logind(), check, "degraded", "yes")
        off = "echo '[Login]\nRemoveIPC=no' > /run/systemd/logind.conf.d/10-ipc.conf"
        self.assert_said(logind(off), check, "ok", "no")
        later = "mkdir /etc/systemd/logind.conf.d; echo ' RemoveIPC = yes' > /etc/systemd/logind.conf.d/20-ipc.conf"
        self.assert_said(logind(f"{off}; {later}"), check, "degraded", "yes")


if __name__ == "__main__":
    unittest.main()
