#!/usr/bin/env python3
"""The driver of heirlock for Python by way of the C interface: tests/python/heirlock.py, or the one on PYTHONPATH."""
import mmap
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import driver
import heirlock


def word(call, *arguments):
    """How the table of README.md calls the outcome."""
    try:
        return call(*arguments).name
    except (AssertionError, MemoryError, OSError, RecursionError, ValueError) as error:
        return error.outcome.name


class Lock:
    def __init__(self, lock):
        self.lock = lock
        self.owner, self.depth, self.flag = lock.owner, lock.depth, lock.needs_repair

    def acquire(self, milliseconds):
        timeout = None if milliseconds is None else milliseconds / 1000
        return "timeout" if (result := word(self.lock.acquire, timeout)) == "not_acquired" else result

    def try_acquire(self):
        return "busy" if (result := word(self.lock.try_acquire)) == "not_acquired" else result

    def release(self):
        return word(self.done, self.lock.release)

    def repaired(self):
        return word(self.done, self.lock.repaired)

    @staticmethod
    def done(call):
        call()
        return heirlock.Outcome.done


class Port:
    capabilities = ("threads", "fork", "exec", "death", "query", "names", "layout")

    def __init__(self, memory):
        with open(memory, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.locks = [Lock(heirlock.Lock.at(self.memory, 64 * number)) for number in range(64)]
        self.names = {}

    def lock(self, number):
        return self.locks[number]

    def named(self, name):
        return self.names[name]

    def use(self, opener, name):
        self.names[name] = Lock(opener(name))
        return heirlock.Outcome.done

    def create(self, name):
        return word(self.use, heirlock.Lock.create, name)

    def open(self, name):
        return word(self.use, heirlock.Lock.open, name)

    def open_or_create(self, name):
        return word(self.use, heirlock.Lock, name)

    def remove(self, name):
        return word(lambda: heirlock.Outcome.done if heirlock.remove(name) else heirlock.Outcome.file_missing)

    def close(self, name):
        del self.names[name]
        return "done"


if __name__ == "__main__":
    driver.main(Port)
