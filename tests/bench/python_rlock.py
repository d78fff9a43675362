#!/usr/bin/env python3
"""What an operation of CPython's multiprocessing.RLock costs, and of heirlock if it is on PYTHONPATH. Prints one JSON object a line, as heirlock-bench-parties does."""
import argparse
import importlib.util
import itertools
import json
import multiprocessing
import os
import platform
import random
import threading
import time

# A lock of another interface joins the comparison by a line here: what makes one, with acquire() and release().
LOCKS = {"python-rlock": multiprocessing.RLock}
if importlib.util.find_spec("heirlock"):
    import heirlock
    LOCKS["heirlock-python"] = heirlock.Lock


def time_of_pairs(lock, count):
    """In nanoseconds; with what the loop itself takes, which is the same for each lock."""
    acquire, release = lock.acquire, lock.release
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, count):
        acquire()
        release()
    return time.perf_counter_ns() - start


class Measurement:
    """One lock, and as many pairs as take about so many seconds."""

    def __init__(self, case, name, seconds):
        self.case, self.name = case, name
        self.lock = LOCKS[name]()
        if case == "nested":
            self.lock.acquire()
        self.count = 1000
        while time_of_pairs(self.lock, self.count) < seconds * 1e9 / 2:  # which also warms up
            self.count *= 2

    def measure(self, repetition):
        nanoseconds = time_of_pairs(self.lock, self.count) / self.count
        print(json.dumps({"case": self.case, "lock": self.name, "repetition": repetition,
                          "python": platform.python_version(), "values": {"ns": round(nanoseconds, 2)}}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["pair", "nested"])
    parser.add_argument("--repetitions", type=int, default=1, help="how often each lock is measured, in random order (1)")
    parser.add_argument("--seconds", type=float, default=0.02, help="about how long each time (0.02)")
    parser.add_argument("--pinned", action="store_true", help="keep to one processor")
    options = parser.parse_args()
    if options.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # A program that needs a lock has more than one thread: as in heirlock-bench-operations.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    measurements = [Measurement(options.case, name, options.seconds) for name in LOCKS]
    for repetition in range(options.repetitions):
        for measurement in random.sample(measurements, len(measurements)):
            measurement.measure(repetition)


if __name__ == "__main__":
    main()
