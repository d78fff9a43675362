"""Asks the kernel about a thread of a driver: its pending mark, the futex it sleeps on, and whether it is about to wake a sleeper of a lock."""
import ctypes
import errno
import os
import platform
import struct
import sys

FUTEX, GET_ROBUST_LIST = (202, 274) if platform.machine() == "x86_64" else (98, 100)
FUTEX_PRIVATE_FLAG = 128
PTRACE_SYSCALL, PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_GET_SYSCALL_INFO = 24, 0x4206, 0x4207, 0x420E
PTRACE_O_TRACESYSGOOD = 1  # without it PTRACE_GET_SYSCALL_INFO knows no system call
WALL = 0x40000000  # of waitpid: also for a task that is no child
SYSCALL_INFO = struct.Struct("BxxxIQQ7Q")  # op, architecture, where, stack, number, arguments
AT_ENTRY = 1
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def pending_mark(tid):
    """The address in list_op_pending, without the lowest bit, which is a flag; 0 if the thread has ended."""
    head, length = ctypes.c_uint64(), ctypes.c_uint64()
    try:
        checked(libc.syscall(GET_ROBUST_LIST, tid, ctypes.byref(head), ctypes.byref(length)))
        if not head.value:
            return 0  # it may be a zombie, whose memory only root may open
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return int.from_bytes(os.pread(memory.fileno(), 8, head.value + 16), sys.byteorder) & ~1
    except (FileNotFoundError, ProcessLookupError):
        return 0


def contents(path):
    """The text of a file; empty if the thread is gone, or the system does not tell."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def slept_on(tid):
    """The address of the shared futex that the thread sleeps on; 0 if on none. The status counts how often a thread has run: if it
    stays the same, the thread has not left this system call for another."""
    before, call, after = (contents(f"/proc/{tid}/{name}") for name in ("status", "syscall", "status"))
    if "\nState:\tS" not in before or before != after or not call.startswith(f"{FUTEX} "):
        return 0
    _, address, operation, *_ = call.split()
    return 0 if int(operation, 16) & FUTEX_PRIVATE_FLAG else int(address, 16)


def trace(tid):
    """Stops a thread for go_on()."""
    checked(libc.ptrace(PTRACE_SEIZE, tid, None, PTRACE_O_TRACESYSGOOD))
    checked(libc.ptrace(PTRACE_INTERRUPT, tid, None, None))
    os.waitpid(tid, WALL)
    checked(libc.ptrace(PTRACE_SYSCALL, tid, None, None))


def is_at_wake_up(tid, offset):
    """Whether the traced thread is about to enter a shared futex call at this offset in a page. At any other stop it goes on."""
    stopped, status = os.waitpid(tid, os.WNOHANG | WALL)
    if not stopped or not os.WIFSTOPPED(status):
        return False
    info = ctypes.create_string_buffer(SYSCALL_INFO.size)
    checked(libc.ptrace(PTRACE_GET_SYSCALL_INFO, tid, SYSCALL_INFO.size, info))
    at, _, _, _, number, word, operation, *_ = SYSCALL_INFO.unpack(info.raw)
    if at == AT_ENTRY and number == FUTEX and word % 4096 == offset and not operation & FUTEX_PRIVATE_FLAG:
        return True
    is_signal = os.WSTOPSIG(status) < 0x80 and status >> 16 == 0
    checked(libc.ptrace(PTRACE_SYSCALL, tid, None, os.WSTOPSIG(status) if is_signal else None))
    return False
