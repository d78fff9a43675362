"""On what it was measured: the machine, and the versions of what takes part. Nothing that names the machine or its owner."""
import os
import pathlib
import platform
import re
import subprocess
import time


def first_match(pattern, text, otherwise="unknown"):
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else otherwise


def text_of(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def first_line_of(*command, folder=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0]


def describe_machine():
    info = text_of("/proc/cpuinfo")
    kilobytes = int(first_match(r"^MemTotal:\s+(\d+)", text_of("/proc/meminfo"), "0"))
    return {
        "processor": first_match(r"^model name\s*:(.*)$", info, platform.machine()),
        "processors": len(os.sched_getaffinity(0)),
        "memory": f"{kilobytes / 2**20:.1f} GiB",
        "virtual machine": "yes" if re.search(r"^flags\s*:.*\bhypervisor\b", info, re.M) else "no",
        "frequency governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "not visible",
    }


def busy_processors(seconds=1.0):
    """How many have something else to do just now. The load average would still know of the building."""
    def read():
        times = [int(word) for word in first_match(r"^cpu +(.*)$", text_of("/proc/stat"), "0 0 0 0 0").split()]
        return sum(times[:8]), times[3] + times[4]  # all, and idle or waiting for a disk

    all_before, idle_before = read()
    time.sleep(seconds)
    all_after, idle_after = read()
    passed = all_after - all_before
    return round(os.cpu_count() * (1 - (idle_after - idle_before) / passed), 2) if passed else 0


def describe_versions(build, root):
    cache = text_of(build / "CMakeCache.txt")
    compiler = first_match(r"^CMAKE_CXX_COMPILER:[A-Z]+=(.*)$", cache, "")
    kind = first_match(r"^CMAKE_BUILD_TYPE:[A-Z]+=(.*)$", cache, "")
    flags = first_match(rf"^CMAKE_CXX_FLAGS_{kind.upper()}:[A-Z]+=(.*)$", cache, "")
    boost = first_match(r'^#define BOOST_LIB_VERSION "(.*)"', text_of("/usr/include/boost/version.hpp"))
    return {
        "heirlock": first_line_of("git", "describe", "--always", "--dirty", "--abbrev=12", folder=root),
        "kernel": platform.release(),
        "glibc": " ".join(platform.libc_ver()[1:]),
        "Boost": boost.replace("_", "."),
        "CPython": platform.python_version(),
        "compiler": f"{first_line_of(compiler, '--version') if compiler else 'unknown'}, {kind}: {flags}",
    }
