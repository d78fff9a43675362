"""heirlock doctor on this machine, in sandboxes that refuse a call, and in containers that lack something."""
import ctypes
import json
import os
import platform
import re
import struct
import subprocess
import unittest

HEIRLOCK = os.environ["HEIRLOCK_COMMAND"]
VERDICTS = ["ok", "degraded", "unusable"]  # by exit status

CALLS = {
    "x86_64": {"tgkill": 234, "get_robust_list": 274, "linkat": 265, "ptrace": 101, "set_robust_list": 273},
    "aarch64": {"tgkill": 131, "get_robust_list": 100, "linkat": 37, "ptrace": 117, "set_robust_list": 99},
}[platform.machine()]
PRETENDS_TO_WORK, REFUSES, KILLS = 0x00050000, 0x00050001, 0x80000000


def sandbox(call, answer):
    """A function that makes the kernel answer the caller's calls of this name so, by seccomp(2)."""
    instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, CALLS[call]), (0x06, 0, 0, answer), (0x06, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        filter_ = struct.pack("@HP", len(instructions), ctypes.addressof(program))
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter_) == 0, os.strerror(ctypes.get_errno())

    return enter


def container(*script, options=(), then=()):
    """The command that runs another where these lines of sh have been run, in mounts of its own."""
    as_root = ["--map-root-user"] if os.geteuid() != 0 else []
    return ["unshare", "--mount", *as_root, *options, "sh", "-ec", "\n".join([*script, 'exec "$@"']), "sh", *then]


ORDINARY_USER = ["unshare", "--user", "--map-user=1000"]
LOGIND = ("mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /etc/systemd\n"
          "mkdir -p /run/systemd/users /run/systemd/logind.conf.d /etc/systemd/logind.conf.d")
KEEPS_IPC = "echo '[Login]\nRemoveIPC=no' > /run/systemd/logind.conf.d/10-ipc.conf"
REMOVES_IPC = "echo ' RemoveIPC = yes' > /etc/systemd/logind.conf.d/20-ipc.conf"

# A system call, what a sandbox answers to it, and what doctor finds then: verdict and words.
SANDBOXES = (
    ("get_robust_list", REFUSES, {"get_robust_list": ("unusable", "not permitted")}),
    ("tgkill", REFUSES, {"tgkill": ("degraded", "not permitted"), "a killed owner's lock": ("ok", "OWNER_DIED")}),
    ("ptrace", REFUSES, {"attaching a debugger": ("degraded", "not permitted")}),
    ("linkat", KILLS, {"linkat": ("unusable", "kills"), "a named lock": ("unusable", "kills")}),
    # As in a system that has the call and does nothing when an owner dies.
    ("set_robust_list", PRETENDS_TO_WORK, {
        "a killed owner's lock": ("unusable", "not 0xc0000000"), "waking a killed owner's waiter": ("degraded", "left asleep"),
        "waking after a kill in a release": ("degraded", "left asleep")}))

CONTAINERS = (
    (container("mount -t tmpfs tmpfs /proc"), {"/proc": ("degraded", "not mounted")}),
    (container(options=["--pid", "--fork"]), {"/proc": ("degraded", "another PID namespace")}),
    (container(options=["--pid", "--fork", "--mount-proc"]), {"/proc": ("ok", ""), "PID namespace": ("ok", "a container's")}),
    (container("mount -t tmpfs -o mode=777,size=64k tmpfs /dev/shm"), {
        "/dev/shm's mode": ("degraded", "0777"), "/dev/shm's room": ("degraded", "0 of 0 MB"), "a named lock": ("ok", "")}),
    (container("mount -t tmpfs -o ro tmpfs /dev/shm"), {"a named lock": ("unusable", "/dev/shm")}),
    (container("mount -t proc proc /dev/shm", options=["--pid", "--fork"]), {"/dev/shm": ("degraded", "not a tmpfs")}),
    (container("mount -t tmpfs tmpfs /run", then=ORDINARY_USER), {"RemoveIPC of systemd-logind": ("ok", "no systemd")}),
    (container(LOGIND, then=ORDINARY_USER), {"RemoveIPC of systemd-logind": ("degraded", "yes")}),
    (container(LOGIND, KEEPS_IPC, then=ORDINARY_USER), {"RemoveIPC of systemd-logind": ("ok", "no")}),
    (container(LOGIND, KEEPS_IPC, REMOVES_IPC, then=ORDINARY_USER), {"RemoveIPC of systemd-logind": ("degraded", "yes")}))


class Doctor(unittest.TestCase):
    def examine(self, around=(), expected=(), **options):
        """What `heirlock doctor --json` says in these surroundings: its checks by name."""
        done = subprocess.run([*around, HEIRLOCK, "doctor", "--json"], capture_output=True, text=True, timeout=60, **options)
        said = json.loads(done.stdout)
        checks = {check["check"]: check for check in said["checks"]}
        self.assertEqual(VERDICTS.index(said["verdict"]), done.returncode)
        self.assertEqual(max(VERDICTS.index(check["verdict"]) for check in checks.values()), done.returncode)
        for check in checks.values():
            self.assertEqual(bool(check["consequence"] and check["remedy"]), check["verdict"] != "ok", check)
        for name, (verdict, words) in dict(expected).items():
            self.assertEqual((checks[name]["verdict"], words in checks[name]["found"]), (verdict, True), checks[name])
        return checks

    # Spec: command.doctor
    def test_it_says_in_text_what_it_says_in_json(self):
        checks = self.examine(expected={"a lock": ("ok", "")})  # or no other test would run here
        lines = subprocess.run([HEIRLOCK, "doctor"], capture_output=True, text=True, timeout=60).stdout.splitlines()
        self.assertEqual(len(lines), len(checks))
        for line, check in zip(lines, checks.values()):
            self.assertRegex(line, rf"^{check['verdict']} +{re.escape(check['check'])} ")
            self.assertEqual(check["consequence"] is None, check["verdict"] == "ok")

    # Spec: command.doctor
    def test_it_names_what_a_sandbox_refuses(self):
        for call, answer, expected in SANDBOXES:
            with self.subTest(call):
                checks = self.examine(expected=expected, preexec_fn=sandbox(call, answer))
                self.assertEqual("a killed owner's lock" in checks, call != "get_robust_list")  # which says nothing without a lock

    # Spec: command.doctor
    @unittest.skipIf(subprocess.call([*container("mount -t tmpfs tmpfs /run"), "true"], stderr=subprocess.DEVNULL),
                     "this system lets a process have no mounts of its own")
    def test_it_names_what_a_container_lacks(self):
        for around, expected in CONTAINERS:
            with self.subTest(expected):
                self.examine(around, expected)


if __name__ == "__main__":
    unittest.main()
