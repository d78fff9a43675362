"""Makes gdb print who holds a heirlock::ReentrantLock, at which depth, and whether it needs repair.

    (gdb) source PREFIX/share/heirlock/heirlock-gdb.py
    (gdb) print lock
    $1 = held by thread 4711, depth 2, to be repaired, perhaps waiters
    (gdb) heirlock lock
    held by thread 4711, depth 2, to be repaired, perhaps waiters

Put the first line into ~/.gdbinit to load it in every run. `print/r lock` shows the fields. C's heirlock_lock and a Lockable
are printed in the same way. `print` needs a program built with -g; `heirlock` takes a variable or an address of any program.
Both read the lock as it is now (also for a `$1`), in a program or a core. A core has a named lock's memory only if bit 3 of
/proc/PID/coredump_filter was set.
"""
import struct
import sys

import gdb
import gdb.printing

# The lock's memory, layout version 1: word, depth, pid_namespace, reserved, owner_id, prev, next.
LAYOUT = struct.Struct("=IIIIQQQ")
WAITERS = 0x80000000
OWNER_DIED = 0x40000000
OWNER = 0x3FFFFFFF

# The offset of the lock's address in a Lockable. gdb knows it only if the library was built with -g.
LOCK_OF_LOCKABLE = 48

VERSIONED = r"heirlock::(v\w+::)?"  # any version's inline namespace


def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def read_address(at):
    return int.from_bytes(read(at, 8), sys.byteorder)


def describe(address):
    """Describes a lock from its bytes; see the table of the word in SPECIFICATION.md."""
    word, depth, _, reserved = LAYOUT.unpack(read(address, LAYOUT.size))[:4]
    if reserved != 0 or address % 8 != 0:
        return "no lock"
    owner = word & OWNER
    # In a free lock the depth is meaningless.
    said = [f"held by thread {owner}", f"depth {depth}"] if owner else ["free"]
    if word & OWNER_DIED:
        said.append("to be repaired" if owner else "to be inherited")
    if word & WAITERS:
        said.append("perhaps waiters")  # the bit may stay set when nobody waits
    return ", ".join(said)


class ReentrantLockPrinter:
    """Reads the bytes, which are specified, rather than the members, whose names are not."""

    def __init__(self, value):
        self.address = value.address

    def to_string(self):
        if self.address is None:
            return "a copy of a lock (print the lock itself)"
        return describe(int(self.address))


class LockablePrinter(ReentrantLockPrinter):
    def __init__(self, value):
        self.address = value.address and read_address(int(value.address) + LOCK_OF_LOCKABLE)


class HeirlockCommand(gdb.Command):
    """Say who holds a lock, in a program that may be built without -g.
Usage: heirlock EXPRESSION
EXPRESSION is a variable that is a lock, or a lock's address: of a heirlock_lock, a ReentrantLock or an object
that begins with a Lockable. For a pointer that was built without -g: heirlock *(long*)&POINTER"""

    def __init__(self):
        super().__init__("heirlock", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        try:
            value = gdb.parse_and_eval(argument)
        except gdb.error:  # a variable of unknown type still has an address
            value = gdb.parse_and_eval(f"&({argument})")
        is_address = value.type.strip_typedefs().code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT)
        address = int(value if is_address else value.address)
        # A Lockable begins with the address of its vtable, a lock with its word.
        if gdb.execute(f"info symbol {read_address(address)}", to_string=True).startswith("vtable for "):
            address = read_address(address + LOCK_OF_LOCKABLE)
        print(describe(address))


HeirlockCommand()
printers = gdb.printing.RegexpCollectionPrettyPrinter("heirlock")
printers.add_printer("ReentrantLock", rf"^{VERSIONED}ReentrantLock$", ReentrantLockPrinter)
printers.add_printer("heirlock_lock", "^heirlock_lock$", ReentrantLockPrinter)
printers.add_printer("Lockable", rf"^{VERSIONED}Lockable$", LockablePrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
