#!/usr/bin/env python3
"""What CPython's multiprocessing.RLock costs, and heirlock if it is on PYTHONPATH. Prints one JSON object a line, as heirlock-bench-parties does."""
import argparse
import functools
import importlib.util
import itertools
import json
import multiprocessing
import random
import threading
import time
import timeit


class OverRLock:
    """What heirlock.Lockable is, of what Python has."""

    def __init__(self):
        self.lock = multiprocessing.RLock()

    @staticmethod
    def locked(method):
        @functools.wraps(method)
        def locked_method(self, *arguments, **keywords):
            with self.lock:
                return method(self, *arguments, **keywords)
        return locked_method


# A lock of another interface joins the comparison by a line here: the lock, and a class with locked methods.
LOCKS = {"python-rlock": (multiprocessing.RLock, OverRLock)}
if importlib.util.find_spec("heirlock"):
    import heirlock
    LOCKS["heirlock-python"] = (heirlock.Lock, heirlock.Lockable)

# What is repeated, and what makes its names local, as those of a function are.
PAIR = ("acquire(); release()", "acquire, release = lock.acquire, lock.release")
OPERATIONS = {"pair": PAIR, "nested": PAIR, "with": ("with own: pass", "own = lock"), "method": ("own.do_nothing()", "own = subject")}


class Operation:
    """As many as take about so many seconds, with the loop, which is the same for each lock."""

    def __init__(self, case, name, seconds):
        lock_type, lockable = LOCKS[name]

        class Subject(lockable):
            @lockable.locked
            def do_nothing(self):
                pass

        lock = lock_type()
        if case == "nested":
            lock.acquire()
        self.timer = timeit.Timer(*OPERATIONS[case], globals={"lock": lock, "subject": Subject()})
        self.count = 1000
        while self.timer.timeit(self.count) < seconds / 2:  # which also warms up
            self.count *= 2

    def values(self):
        return {"ns": round(1e9 * self.timer.timeit(self.count) / self.count, 2)}


class Increment:
    """Several processes increment one number, for so many seconds."""

    def __init__(self, name, processes, seconds):
        self.make, self.processes, self.seconds = LOCKS[name][0], processes, seconds

    def work(self, begun, lock, count, is_over):
        begun.wait()
        while not is_over.value:
            for _ in itertools.repeat(None, 100):
                with lock:
                    count.value += 1

    def values(self):
        context = multiprocessing.get_context("fork")
        begun, count, is_over = context.Barrier(self.processes + 1), context.RawValue("q", 0), context.RawValue("b", False)
        shared = begun, self.make(), count, is_over
        processes = [context.Process(target=self.work, args=shared) for _ in range(self.processes)]
        for process in processes:
            process.start()
        begun.wait()
        start = time.perf_counter()
        time.sleep(self.seconds)
        rate = count.value / (time.perf_counter() - start)
        is_over.value = True
        for process in processes:
            process.join()
        return {"operations_per_second": round(rate)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=[*OPERATIONS, "increment"])
    parser.add_argument("--processes", type=int, default=2, help="how many increment (2)")
    parser.add_argument("--repetitions", type=int, default=1, help="how often each lock is measured, in random order (1)")
    parser.add_argument("--seconds", type=float, default=0.02, help="about how long each time (0.02)")
    options = parser.parse_args()
    if options.case == "increment":
        measurements = {name: Increment(name, options.processes, options.seconds) for name in LOCKS}
    else:
        # A program that needs a lock has more than one thread: as in heirlock-bench-operations.
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        measurements = {name: Operation(options.case, name, options.seconds) for name in LOCKS}
    for repetition in range(options.repetitions):
        for name in random.sample(list(LOCKS), len(LOCKS)):
            print(json.dumps({"lock": name, "repetition": repetition, "values": measurements[name].values()}), flush=True)


if __name__ == "__main__":
    main()
