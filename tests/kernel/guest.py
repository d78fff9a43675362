"""Runs in the virtual machine of ci/kernels: /plan.json's programs, and a line of JSON on the console about each that ended."""
import concurrent.futures
import ctypes
import json
import os
import platform
import re
import signal
import struct
import subprocess
import threading
import time
import xml.etree.ElementTree as xml

MARK = "heirlock-kernels: "
console = threading.Lock()


def say(what, output=""):
    with console:
        print(output, end="\n" if output else "")
        print(MARK + json.dumps(what), flush=True)


def counted(report, status, output, skips):
    """How many cases passed, were skipped and failed. A program that left no report is one case."""
    cases = [] if report is None else list(report.iter("testcase"))
    failures = [f"{case.get('classname')}.{case.get('name')}" for case in cases
                if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None or case.get("result") == "skipped" for case in cases)
    passed = len(cases) - skipped - len(failures)
    if status != 0 and not failures:
        failures = [f"exit status {status}"]
    elif report is None and skips and re.search(skips, output, re.MULTILINE):
        skipped = 1
    elif report is None and status == 0:
        passed = 1
    elif not cases and not failures:
        failures = ["a report without any case"]
    return {"passed": passed, "skipped": skipped, "failures": failures}


def run(program):
    report_path = f"/tmp/report.{program['name']}"
    command = [argument.replace("REPORT", report_path) for argument in program["command"]]
    began = time.monotonic()
    with open(f"/tmp/output.{program['name']}", "w+", errors="replace") as file:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                                 env={**os.environ, **program["environment"]})
        try:
            status = child.wait(program["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            status = f"none within {program['timeout']} s"
        file.seek(0)
        output = file.read()
    try:
        report = xml.parse(report_path) if command != program["command"] else None
        result = counted(report, status, output, program["skips"])
    except (OSError, xml.ParseError) as error:
        result = {"passed": 0, "skipped": 0, "failures": [f"exit status {status}, and no report: {error}"]}
    say({"program": program["name"], **result, "seconds": round(time.monotonic() - began, 1)}, output if result["failures"] else "")


def keep_perf_events_on():
    """With the first event of a process, as each breakpoint of a debugger is one, the kernel rewrites its scheduler, and again after
    the last. Seen once, on 7.3.4: the other emulated processor met the int3 that stands there meanwhile. So there is always an event."""
    software, size, dummy, call = 1, 64, 9, {"x86_64": 298, "aarch64": 241}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(call, struct.pack("IIQ", software, size, dummy).ljust(size, b"\0"), 0, -1, -1, 0) < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")


def main():
    keep_perf_events_on()
    with open("/plan.json", encoding="utf-8") as file:
        plan = json.load(file)
    say({"machine": f"{platform.machine()}", "kernel": platform.release(), "version": platform.version(),
         "libc": os.confstr("CS_GNU_LIBC_VERSION")})
    # What is to be stressed has the machine to itself.
    for is_alone, workers in ((False, plan["at_a_time"]), (True, 1)):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, [program for program in plan["programs"] if program["alone"] == is_alone]))
    say({"end": True})


if __name__ == "__main__":
    main()
