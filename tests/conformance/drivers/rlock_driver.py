#!/usr/bin/env python3
"""The driver of CPython's multiprocessing.RLock, to compare.

An RLock is made to be inherited from a parent or pickled for a child that is being spawned, and the processes here are not each
other's children. What a forked child has of it is the address of a semaphore in shared memory. So the semaphores lie in MEMORY,
where the first process makes them, and each process builds its locks of them as multiprocessing does.

It says that it can do `death`, which it cannot, so that it is shown.
"""
import ctypes
import fcntl
import mmap
from multiprocessing import synchronize

import driver

LOCKS, SPACING, MADE = 64, 64, 56  # a byte behind the first semaphore says that all are made


class Lock:
    def __init__(self, semaphore):
        self.lock = synchronize.RLock.__new__(synchronize.RLock)
        self.lock.__setstate__((semaphore, synchronize.RECURSIVE_MUTEX, 1, None))

    def acquire(self, milliseconds):
        return self.how(self.lock.acquire(True, None if milliseconds is None else milliseconds / 1000), "timeout")

    def try_acquire(self):
        return self.how(self.lock.acquire(False), "busy")

    def how(self, is_taken, otherwise):
        if not is_taken:
            return otherwise
        return "acquired" if self.lock._semlock._count() == 1 else "reentered"

    def release(self):
        try:
            self.lock.release()
        except AssertionError:
            return "not_owner"
        return "done"


class Port:
    capabilities = ("threads", "fork", "exec", "death")

    def __init__(self, memory):
        with open(memory, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), LOCKS * SPACING)
            begin = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
            semaphores = [begin + SPACING * number for number in range(LOCKS)]
            fcntl.flock(file, fcntl.LOCK_EX)
            if self.memory[MADE] == 0:
                for semaphore in semaphores:
                    ctypes.CDLL(None).sem_init(ctypes.c_void_p(semaphore), 1, 1)
                self.memory[MADE] = 1
            fcntl.flock(file, fcntl.LOCK_UN)  # the mapping keeps the file open
        self.locks = [Lock(semaphore) for semaphore in semaphores]

    def lock(self, number):
        return self.locks[number]


if __name__ == "__main__":
    driver.main(Port)
