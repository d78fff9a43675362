"""How gdb prints a heirlock::ReentrantLock: who holds it, how deep, and what the next owner will find.

    (gdb) source PREFIX/share/heirlock/heirlock-gdb.py
    (gdb) print lock
    $1 = held by thread 4711, depth 2, to be repaired, perhaps waiters

The same line in ~/.gdbinit does it for every run; `print/r lock` shows the fields. C's heirlock_lock is printed likewise,
and of a Lockable the lock that it has, if the library was built with -g. It reads the lock as it is at that moment (for
a `$1` too), in a program or a core. A core holds a named lock's memory only if bit 3 of /proc/PID/coredump_filter was set.
"""
import struct

import gdb
import gdb.printing

# The lock's memory, layout version 1: word, depth, pid_namespace, reserved, owner_id, prev, next.
LAYOUT = struct.Struct("=IIIIQQQ")
WAITERS = 0x80000000
OWNER_DIED = 0x40000000
OWNER = 0x3FFFFFFF

VERSIONED = r"heirlock::(v\w+::)?"  # in whatever version's inline namespace


def describe(memory):
    """What the bytes of a lock say, as the table of the word in SPECIFICATION.md reads them."""
    word, depth = LAYOUT.unpack(memory)[:2]
    owner = word & OWNER
    # The depth is the owner's; in a free lock it is what the last one left.
    said = [f"held by thread {owner}", f"depth {depth}"] if owner else ["free"]
    if word & OWNER_DIED:
        said.append("to be repaired" if owner else "to be inherited")
    if word & WAITERS:
        said.append("perhaps waiters")  # the bit may be set in vain
    return ", ".join(said)


class ReentrantLockPrinter:
    """Reads the bytes, which are specified, and not the members, whose names are not."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        if self.value.address is None:
            return "a copy of a lock (print the lock itself)"
        return describe(gdb.selected_inferior().read_memory(int(self.value.address), LAYOUT.size).tobytes())


class LockablePrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            lock = self.value["lock_"].dereference()
        except gdb.error:
            return "a Lockable (build the library with -g, and its lock is shown)"
        return ReentrantLockPrinter(lock).to_string()


printers = gdb.printing.RegexpCollectionPrettyPrinter("heirlock")
printers.add_printer("ReentrantLock", rf"^{VERSIONED}ReentrantLock$", ReentrantLockPrinter)
printers.add_printer("heirlock_lock", "^heirlock_lock$", ReentrantLockPrinter)
printers.add_printer("Lockable", rf"^{VERSIONED}Lockable$", LockablePrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
