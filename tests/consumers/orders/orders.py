#!/usr/bin/env python3
"""Holds the code that a compiler makes for arm64 against the memory orders of SPECIFICATION.md, section 6. On x86-64
every store releases and every exchange is a full barrier: there no test can see that an order is lost.

orders.py HEIRLOCK COMPILER [option...]
"""
import re
import subprocess
import sys

ALGORITHM = ('#include "heirlock/detail/linux_platform.hpp"\n'
             'template class heirlock::detail::LockAlgorithm<heirlock::detail::LinuxPlatform>;\n')
PLATFORM = '#include "linux_platform.cpp"\n'
WAYS = {"calls that choose": [],  # the default of Linux: the exchanges are functions of libgcc
        "exclusive pairs": ["-march=armv8-a", "-mno-outline-atomics"],
        "one instruction": ["-march=armv8.1-a"]}
ORDERS = {"": "relaxed", "relax": "relaxed", "a": "acquire", "acq": "acquire", "l": "release", "rel": "release"}

failed = False


def expect(holds, what):
    global failed
    if not holds:
        failed = True
        print(f"{way}: expected {what}")


def compiled(source):
    """The assembly of each function, by its name."""
    command = [*compiler, *WAYS[way], "-O2", "-std=c++17", f"-I{heirlock}/include", f"-I{heirlock}/src",
               "-S", "-o", "-", "-x", "c++", "-"]
    text = subprocess.run(command, input=source, stdout=subprocess.PIPE, text=True, check=True).stdout
    parts = re.split(r"^(_ZN\w+):", text, flags=re.MULTILINE)
    # Of _ZN8heirlock11detail_v0_113LinuxPlatform13owner_is_goneEj the last words before E.
    names = [re.search(r"\d([a-z_]+)E", name) for name in parts[1::2]]
    return {name[1]: body for name, body in zip(names, parts[2::2]) if name}


def exchanges(function):
    """The order of each compare-exchange in it."""
    found = re.findall(r"\bcas(a?l?)\s|__aarch64_cas\d_(\w+)|\bld(a?)xr\s.*?\bst(l?)xr\s", function, re.DOTALL)
    return [ORDERS.get("".join(parts), "stronger") for parts in found]


heirlock, *compiler = sys.argv[1:]
for way in WAYS:
    code = compiled(ALGORITHM)
    # Spec: order.take
    expect(set(exchanges(code["acquire"])) == {"acquire"}, "the first take to acquire")
    contended = exchanges(code["acquire_contended"])
    expect("acquire" in contended, "a contended take to acquire")
    expect(contended.count("relaxed") == 2, "two relaxed exchanges, which set WAITERS and look a last time")
    # Spec: order.bury-it
    expect(exchanges(code["bury"]) == ["release", "release"], "both exchanges that bury to release")
    # Spec: order.free-it
    expect(set(exchanges(code["release"])) == {"release"}, "an exchange that frees to release")
    expect(set(exchanges(code["free_marked"])) == {"release"}, "an exchange that passes OWNER_DIED on to release")
    expect(re.search(r"\bstlr\s.*?wake_one", code["free_marked"], re.DOTALL), "a store that frees to release")
    # Spec: order.free-in-kernel
    expect(re.search(r"\bdmb\s+ish\n(\s.*\n)*?\s+bl?\s.*clear_and_wake_all", code["free_marked"]),
           "a fence before the kernel's store")
    code = compiled(PLATFORM)
    # Spec: order.ask
    expect(re.search(r"\bdmb\s+ishld\n.*?\bbl\s+syscall\n.*?\bdmb\s+ishld\n", code["owner_is_gone"], re.DOTALL),
           "a fence of loads before and after the question whether an owner exists")
    # Spec: order.known
    behind = re.findall(r"\bdmb\s+ish(.*?)\n\s+(?:b|ret)\s", code["admit"], re.DOTALL)
    expect(behind and not re.search(r"\bbl\s+(syscall|_ZN\w*(identify|find_))", "".join(behind)),
           "a fence after a thread has its robust list, before its first lock")
print(f"{' '.join(compiler)}: {'an order is lost' if failed else 'all orders are there'}")
sys.exit(failed)
