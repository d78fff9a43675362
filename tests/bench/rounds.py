"""Makes the measurements, in rounds, at random, and says on what machine."""
import os
import pathlib
import platform
import random
import re
import shlex
import signal
import subprocess
import sys
import time

from ratios import Samples

LIMIT = 120  # seconds that one measurement may take; a lock that hangs must not hang the others
MINIMUM = 3  # rounds: with fewer there is no spread
CONFIDENT = 1.05  # how much longer than the longest round so far the next one may take


def run(command, limit=LIMIT):
    """Returns what the program printed. A program that hangs is ended with all that it started."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        try:
            output, errors = child.communicate(timeout=limit)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    if child.returncode != 0:
        raise ValueError(f"exit status {child.returncode}: {errors.strip() or 'it said nothing'}")
    return output


def in_order(groups, seed, seconds, rounds=None):
    """Each measurement once a round: groups in random order, so that the drift of the machine hits all rows alike, and the measurements
    of a group next to each other and in random order, so that it hits all locks of a row alike. As many rounds as fit into so many
    seconds, but at least MINIMUM; or exactly so many."""
    order, began, longest, number = random.Random(seed), time.monotonic(), 0, 0
    while number < (rounds or MINIMUM) or not rounds and time.monotonic() - began + CONFIDENT * longest <= seconds:
        print(f"round {number + 1}", file=sys.stderr, flush=True)
        before = time.monotonic()
        for group in order.sample(groups, len(groups)):
            for measurement in order.sample(group, len(group)):
                yield number, measurement
        longest = max(longest, time.monotonic() - before)
        number += 1


def measure(groups, seed, seconds, rounds=None):
    """Returns the samples, and of each measurement that failed what to say."""
    samples, failures = Samples(), []
    for number, measurement in in_order(groups, seed, seconds, rounds):
        try:
            for row, lock, repetition, values in measurement.read(run(measurement.command), measurement.rows):
                samples.add(row.name, lock, number, repetition, values)
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError, StopIteration) as error:
            failures.append({"row": measurement.rows[0].name, "what": measurement.what, "message": f"{type(error).__name__}: {error}",
                             "command": shlex.join(map(str, measurement.command))})
    return samples, failures


def text_of(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fields(pattern, path):
    """Names and values, as the pattern finds them in a file. The first of a name counts."""
    return dict(reversed(re.findall(pattern, text_of(path), re.M)))


def first_line_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0] or "unknown"


def machine():
    """Nothing that names the machine or its owner."""
    info = fields(r"^(.+?)\s*: (.*)$", "/proc/cpuinfo")
    return {
        "processor": info.get("model name", platform.machine()),
        "processors": len(os.sched_getaffinity(0)),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "virtual machine": "yes" if "hypervisor" in info.get("flags", "").split() else "no",
        "frequency governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "not visible",
    }


def busy_processors(seconds=1.0):
    """How many have something else to do just now. The load average would still know of the building."""
    def read():
        times = [int(word) for word in text_of("/proc/stat").partition("\n")[0].split()[1:9]]
        return sum(times), times[3] + times[4]  # all, and idle or waiting for a disk

    before = read()
    time.sleep(seconds)
    passed, idle = (after - earlier for after, earlier in zip(read(), before))
    return round(os.cpu_count() * (1 - idle / passed), 2)


def versions(build, root):
    cache = fields(r"^(\w+):\w+=(.*)$", build / "CMakeCache.txt")
    kind = cache["CMAKE_BUILD_TYPE"]
    boost = fields(r'^#define (BOOST_LIB_VERSION) "(.*)"', "/usr/include/boost/version.hpp")
    return {
        "heirlock": first_line_of("git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"),
        "kernel": platform.release(),
        "glibc": platform.libc_ver()[1],
        "Boost": boost.get("BOOST_LIB_VERSION", "unknown").replace("_", "."),
        "CPython": platform.python_version(),
        "compiler": f"{first_line_of(cache['CMAKE_CXX_COMPILER'], '--version')}, {kind}: {cache[f'CMAKE_CXX_FLAGS_{kind.upper()}']}",
    }
