#!/usr/bin/env python3
"""The driver of heirlock's package for Python, src/python, from PYTHONPATH."""
import errno
import mmap

import driver
import heirlock

REFUSALS = {errno.EXDEV: "foreign_pid_namespace", errno.ENOSYS: "unsupported_platform", errno.EPROTO: "layout_mismatch",
            errno.EACCES: "not_trusted", errno.EEXIST: "file_exists", errno.ENOENT: "file_missing", errno.EOWNERDEAD: "owner_dead"}


def word(call, *arguments):
    """The call's result, in the words of README.md."""
    try:
        result = call(*arguments)
        return result.name if isinstance(result, heirlock.AcquireResult) else "done"
    except heirlock.NotOwnerError:
        return "not_owner"
    except RecursionError:
        return "recursion_too_deep"
    except ValueError:
        return "invalid_name"
    except OSError as error:
        return REFUSALS.get(error.errno, f"error {error}")


class Lock:
    def __init__(self, lock):
        self.lock_, self.owner, self.depth, self.flag = lock, lock.owner, lock.depth, lock.needs_repair

    def acquire(self, milliseconds):
        timeout = None if milliseconds is None else milliseconds / 1000
        return "timeout" if (result := word(self.lock_.acquire_result, True, timeout)) == "not_acquired" else result

    def try_acquire(self):
        return "busy" if (result := word(self.lock_.acquire_result, False)) == "not_acquired" else result

    def lock(self):
        return word(self.lock_.__enter__)

    def try_lock(self):
        taken = []
        result = word(lambda: taken.append(self.lock_.acquire(False)))
        return "busy" if taken == [False] else result

    def release(self):
        return word(self.lock_.release)

    def repaired(self):
        return word(self.lock_.repaired)


class Port:
    capabilities = ("threads", "fork", "exec", "death", "query", "names", "layout", "poison")

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

    def create(self, name):
        return word(self.use, heirlock.Lock.create, name)

    def open(self, name):
        return word(self.use, heirlock.Lock.open, name)

    def open_or_create(self, name):
        return word(self.use, heirlock.Lock, name)

    def remove(self, name):
        removed = []
        result = word(lambda: removed.append(heirlock.Lock.remove(name)))
        return "file_missing" if removed == [False] else result

    def close(self, name):
        del self.names[name]
        return "done"


if __name__ == "__main__":
    driver.main(Port)
