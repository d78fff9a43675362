#!/usr/bin/env python3
"""Boots Debian's cloud kernels under QEMU, which emulates the processor, and runs in each what depends on the kernel."""
import argparse
import datetime
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build/kernels"
MARK = "heirlock-kernels: "  # as in guest.py
DEFAULT = ["6.1", "6.12", "trixie", "5.10", "arm64-6.1"]
RELEASES = {"bullseye": ("", "-security"), **dict.fromkeys(("bookworm", "trixie"), ("", "-updates", "-security", "-backports"))}
SUITES = "kernel", "processes", "unit", "c", "conformance", "stress", "sweep"
FOLDERS = "kernel", "processes", "unit", "c", "conformance", "conformance/drivers", "crash", "stress"
SWEEP = "release_to_one", "barger.whose_releaser_is_killed"
STRESS = "--seconds 30 --processes 8 --threads 2 --kills-per-second 100 --faults all --faults-per-second 30"
AT_A_TIME = 4  # programs, as they wait more than they work
PATIENCE = 3  # what an emulated processor needs of the bounds that hold for others
LIMIT = 900  # seconds that a boot may take
ARCHITECTURES = {
    "amd64": ("qemu-system-x86_64 -cpu max", "console=ttyS0", ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]),
    # The architecture's own algorithm of pointer authentication takes most of the time where it is emulated.
    "arm64": ("qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on", "console=ttyAMA0", ["--preset", "arm64"]),
}
INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for each in proc:/proc sysfs:/sys tmpfs:/dev/shm; do
  busybox mkdir -p ${each#*:}
  busybox mount -t ${each%:*} ${each%:*} ${each#*:}
done
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
case $(busybox cat /proc/cmdline) in
  *shell*) busybox --install -s; cd FOLDER; setsid cttyhack sh ;;
  *) python3 -B /guest.py ;;
esac
busybox poweroff -f
"""


class Refusal(Exception):
    pass


def output_of(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode != 0:
        raise Refusal(f"{' '.join(map(str, command[:2]))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


# ---- Debian's archive, with lists of its own: nothing here is installed

def sources():
    """From where this machine has its own packages, if it is a Debian."""
    sites = {"": "http://deb.debian.org/debian", "-security": "http://deb.debian.org/debian-security"}
    for line in output_of(["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(SITE)", "Created-By: Packages"]).splitlines():
        origin, release, site = line.split(" ", 2)
        if origin == "Debian":
            sites["-security" if release.endswith("-security") else ""] = site
    for release, parts in RELEASES.items():
        for part in parts:
            yield f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {sites.get(part, sites[''])} {release}{part} main\n"


def apt(architecture, tool, *arguments, **options):
    folder = WORK / f"apt-{architecture}"
    options_of_apt = {"Dir::State": folder, "Dir::State::status": folder / "status", "Dir::Cache": folder,
                      "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
                      "APT::Architecture": architecture, "APT::Architectures::": architecture, "APT::Sandbox::User": "root",
                      "APT::Install-Recommends": "false", "Acquire::Languages": "none"}
    command = [part for option, value in options_of_apt.items() for part in ("-o", f"{option}={value}")]
    updated = folder / "updated"
    if not updated.exists() or time.time() - updated.stat().st_mtime > 86400:
        print(f"fetching Debian's lists of packages for {architecture}", flush=True)
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text("".join(sources()))
        output_of(["apt-get", *command, "update", "--error-on=any"])
        updated.touch()
    return output_of([tool, *command, *arguments], **options)


@functools.cache
def kernels(architecture):
    """All there are, the newest last."""
    packages = {name for name in apt(architecture, "apt-cache", "pkgnames", "linux-").split()
                if re.fullmatch(rf"linux-(image|binary)-\d+\.\d+\.\d+.*-cloud-{architecture}", name)}
    packages -= {name.replace("binary", "image") for name in packages if "binary" in name}  # which from 6.19 on hold no kernel
    found = []
    for line in apt(architecture, "apt-cache", "madison", *packages).splitlines():
        package, version, source = (field.strip() for field in line.split("|"))
        upstream = re.match(r"[\d.]+", version)[0]
        found.append({"name": f"{'' if architecture == 'amd64' else architecture + '-'}{upstream}", "architecture": architecture,
                      "upstream": upstream, "package": package, "version": version, "suite": source.split()[1].split("/")[0]})

    def age(kernel):  # of one version, a release's own rather than the copy for an older one
        return [int(part) for part in re.findall(r"\d+", kernel["version"].split("~")[0])], "~" not in kernel["version"]
    return sorted(found, key=age)


def chosen(name):
    architecture, wanted = re.fullmatch(r"(?:(amd64|arm64)-?)?(.*)", name).groups()
    fitting = [kernel for kernel in kernels(architecture or "amd64") if kernel["suite"].split("-")[0] == wanted or
               f"{kernel['upstream']}.".startswith(f"{wanted or '6.1'}.")]
    if not fitting:
        raise Refusal(f"there is no kernel '{name}'; give {', '.join(RELEASES)}, a series such as 6.12, or a version such as 6.12.101, for arm64 "
                      "with arm64- before it; ci/kernels --list names all")
    return fitting[-1]


def image_of(kernel):
    folder = WORK / "linux" / f"{kernel['package']}_{kernel['version']}"
    if not list(folder.rglob("vmlinuz*")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"fetching {kernel['package']}", flush=True)
        apt(kernel["architecture"], "apt-get", "download", f"{kernel['package']}={kernel['version']}", cwd=folder)
        output_of("dpkg-deb --fsys-tarfile *.deb | tar -x --wildcards '*/vmlinuz*' && rm *.deb", shell=True, cwd=folder)
    return next(folder.rglob("vmlinuz*"))


# ---- What runs

class Guest:
    """A build for an architecture, and what a virtual machine needs to run its tests."""

    def __init__(self, architecture):
        self.architecture, self.build = architecture, WORK / f"build-{architecture}"
        self.initramfs = WORK / f"initramfs-{architecture}"
        print(f"building for {architecture}", flush=True)
        output_of(["cmake", "-S", ROOT, "-B", self.build, *ARCHITECTURES[architecture][2], "-DPython3_EXECUTABLE=/usr/bin/python3"],
                  cwd=ROOT)
        output_of(["cmake", "--build", self.build, "--target", *(f"tests/{folder}/all" for folder in FOLDERS)])
        compiler = next(self.build.glob("CMakeFiles/*/CMakeCXXCompiler.cmake")).read_text()
        self.compiler = " ".join(re.search(rf'CMAKE_CXX_COMPILER_{what} "(.*)"', compiler)[1] for what in ("ID", "VERSION"))
        self.programs = sorted(self.list_programs(), key=lambda program: program["suite"] != "conformance")  # the longest first
        if missing := set(SUITES) - {program["suite"] for program in self.programs}:
            raise Refusal(f"{self.build} has no test of {', '.join(sorted(missing))}; each suite must have some")
        self.pack()

    def list_programs(self):
        """Those of ctest that depend on the kernel."""
        for test in json.loads(output_of(["ctest", "--test-dir", self.build, "--show-only=json-v1"]))["tests"]:
            if "command" not in test:
                continue  # not built, so of another folder
            command, properties = test["command"], {one["name"]: one["value"] for one in test["properties"]}
            path = pathlib.Path(command[0])
            suite = path.parent.name
            if path.parent.parent != self.build / "tests" or suite not in SUITES[:4]:
                suite = ""
            elif b"gtest_output" in path.read_bytes():
                command = [*command, "--gtest_output=xml:REPORT"]
            if test["name"] in ("conformance.cpp", "conformance.pthread_robust"):  # the others ask nothing else of a kernel
                suite, command = "conformance", [*command, "--junit", "REPORT"]
            elif test["name"] == "crash_sweep":
                for scenario in SWEEP:
                    yield self.program("sweep", f"{test['name']}.{scenario}", [command[0], scenario], properties)
            if suite:
                yield self.program(suite, test["name"], command, properties)
        yield self.program("stress", "heirlock-stress", [str(self.build / "tests/stress/heirlock-stress"), *STRESS.split()], {})

    @staticmethod
    def program(suite, name, command, properties):
        return {"suite": suite, "name": name, "command": command, "timeout": 900 * PATIENCE,
                "environment": {"HEIRLOCK_TEST_SECONDS": str(300 * PATIENCE),
                                **dict(pair.split("=", 1) for pair in properties.get("ENVIRONMENT", []))},
                "skips": "|".join(properties.get("SKIP_REGULAR_EXPRESSION", [])), "alone": suite == "stress"}

    def pack(self):
        """Debian's Python and libraries, the build and the tests at the paths they have here."""
        root = self.initramfs.with_suffix(".root")
        shutil.rmtree(root, ignore_errors=True)
        release = platform.freedesktop_os_release().get("VERSION_CODENAME")
        install = ["install", "--yes", "--target-release", release if release in RELEASES else list(RELEASES)[-1],
                   "python3", "busybox-static", "libstdc++6"]
        apt(self.architecture, "apt-get", *install, "--download-only")
        contents = hashlib.sha256(INIT.encode() + pathlib.Path(__file__).read_bytes())
        for package, version in re.findall(r"^Inst (\S+) \((\S+) ", apt(self.architecture, "apt-get", *install, "--simulate"), re.MULTILINE):
            file = next((WORK / f"apt-{self.architecture}/archives").glob(f"{package}_{version.replace(':', '%3a')}_*.deb"))
            contents.update(file.name.encode())
            output_of(["dpkg-deb", "-x", file, root])
        shutil.rmtree(root / "usr/share")
        for name in ("bin", "sbin", "lib", "lib64"):
            if not (root / name).exists():
                (root / name).symlink_to(f"usr/{name}")
        own = [path for path in sorted(self.build.rglob("*")) if path.is_file() and "CMakeFiles" not in path.parts and os.access(path, os.X_OK)]
        own += sorted(path for path in (ROOT / "tests/conformance").rglob("*") if path.is_file())
        plan = json.dumps({"programs": self.programs, "at_a_time": AT_A_TIME})
        contents.update(plan.encode())
        for source, path in [(pathlib.Path(__file__).with_name("guest.py"), root / "guest.py"),
                             *((file, root / file.relative_to("/")) for file in own)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path, follow_symlinks=False)
            contents.update(source.read_bytes())
        self.key = contents.hexdigest()
        for folder in ("proc", "sys", "dev", "root", "etc", "tmp", "usr/sbin"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        (root / "plan.json").write_text(plan)
        (root / "init").write_text(INIT.replace("FOLDER", str(self.build / "tests")))
        (root / "init").chmod(0o755)
        output_of(f"find . | cpio --quiet -o -H newc -R +0:+0 >{self.initramfs}", shell=True, cwd=root)
        shutil.rmtree(root)

    def qemu(self, image, words=""):
        program, console, _ = ARCHITECTURES[self.architecture]
        return ["setpriv", "--pdeathsig", "KILL", *program.split(), "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G",
                "-nodefaults", "-nographic", "-serial", "mon:stdio", "-no-reboot", "-kernel", image, "-initrd", self.initramfs,
                "-append", f"{console} quiet loglevel=1 panic=-1 {words}"]


# ---- A boot and its result

def judged(programs, lines, ending, release):
    """What the console's lines say. A program of which they say nothing has failed, however the machine ended; and so has a
    machine that did not say that it runs this release."""
    heard, guest, is_complete = {}, {}, False
    for line in lines:
        try:
            said = json.loads(line.split(MARK, 1)[1]) if MARK in line else {}
        except json.JSONDecodeError:
            said = {}  # of which a part is lost
        if "program" in said:
            heard[said["program"]] = said
        is_complete |= "end" in said
        guest.update(said if "kernel" in said else {})
    if ending is None and not is_complete:
        ending = "the machine went down early"
    if ending is None and guest.get("kernel") != release:
        ending = f"the machine ran kernel {guest.get('kernel')}, expected {release}"
    silent = {"passed": 0, "skipped": 0, "failures": [f"it sent no result: {ending}"], "seconds": 0}
    results = [{"suite": program["suite"], "program": program["name"], **heard.get(program["name"], silent)} for program in programs]
    return {"guest": guest, "ending": ending, "programs": results,
            "passed": ending is None and bool(results) and not any(result["failures"] for result in results)}


def boot(kernel, guest):
    """Runs all, and keeps the console in a file."""
    log = WORK / f"{kernel['name']}.log"
    lines, began, count, shown = [], time.monotonic(), 0, time.monotonic()
    with open(log, "w", encoding="utf-8") as file, \
            subprocess.Popen(guest.qemu(image_of(kernel)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace") as machine:
        watchdog = threading.Timer(LIMIT, machine.kill)
        watchdog.start()
        try:
            for line in machine.stdout:
                file.write(line)
                file.flush()
                lines.append(line)
                if MARK in line:
                    count += "program" in line
                    text = f"{kernel['name']}: {count} of {len(guest.programs)} programs, {time.monotonic() - began:.0f} s"
                    if sys.stdout.isatty():
                        print(f"{text}\033[K", end="\r", flush=True)
                    elif time.monotonic() - shown > 60:
                        print(text, flush=True)
                        shown = time.monotonic()
        finally:
            is_late = not watchdog.is_alive()
            watchdog.cancel()
            if sys.exc_info()[0]:
                machine.kill()
    ending = None
    if is_late:
        ending = f"it was still running after {LIMIT} s"
    elif machine.returncode != 0:
        ending = f"QEMU ended with the status {machine.returncode}"
    return {**kernel, "date": datetime.date.today().isoformat(), "command": f"ci/kernels {kernel['name']}", "key": guest.key,
            "compiler": guest.compiler, "seconds": round(time.monotonic() - began, 1),
            **judged(guest.programs, lines, ending, kernel["package"].split("-", 2)[2])}


def cell(result, suite):
    programs = [program for program in result["programs"] if program["suite"] == suite]
    passed, skipped = (sum(program[count] for program in programs) for count in ("passed", "skipped"))
    failed = sum(len(program["failures"]) for program in programs)
    return f"{passed}" + f" -{failed}" * bool(failed) + f" ({skipped})" * bool(skipped) if programs else "none"


def row(result):
    text = f"{'passed' if result['passed'] else 'FAILED'}  {result['name']:<15}"
    text += "".join(f"{cell(result, suite):>14}" for suite in SUITES) + f"{result['seconds']:>8.0f} s"
    if not result["passed"]:
        text += f"\n        {result['ending'] or 'the machine ended well'}; its console is in {WORK}/{result['name']}.log"
    for program in result["programs"]:
        text += "".join(f"\n        {program['suite']}: {program['program']}: {failure}" for failure in program["failures"][:10]
                        if not (result["ending"] and failure.endswith(result["ending"])))
    return text


def as_junit(results, wanted):
    def boot_of(suite, name, **failed):
        case = xml.SubElement(suite, "testcase", classname=name, name="boot")
        for what, message in failed.items():
            xml.SubElement(case, what, message=message)

    root = xml.Element("testsuites", name="ci/kernels")
    for kernel in wanted[len(results):]:
        suite = xml.SubElement(root, "testsuite", name=kernel["name"], tests="1", failures="0", errors="1", skipped="0", time="0")
        boot_of(suite, kernel["name"], error="did not finish")
    for result in results:
        programs = result["programs"]
        suite = xml.SubElement(root, "testsuite", name=result["name"], tests=str(len(programs) + 1), errors="0", skipped="0",
                               failures=str(sum(bool(program["failures"]) for program in programs) + bool(result["ending"])),
                               time=str(result["seconds"]))
        boot_of(suite, result["name"], **({"failure": result["ending"]} if result["ending"] else {}))
        for program in programs:
            case = xml.SubElement(suite, "testcase", classname=f"{result['name']}.{program['suite']}", name=program["program"],
                                  time=str(program["seconds"]))
            if program["failures"]:
                xml.SubElement(case, "failure", message="; ".join(program["failures"]))
    return xml.tostring(root, encoding="unicode", xml_declaration=True)


def as_markdown(results):
    """Rows of the table in ci/README.md."""
    for one in results:
        counts = ", ".join(f"{suite} {cell(one, suite)}" for suite in SUITES)
        yield (f"| {one['upstream']} ({one['guest']['kernel']}) | {one['guest']['machine']}, QEMU | {one['guest']['libc']} | {one['compiler']} |"
               f" {one['date']} | `{one['command']}` | {'passed' if one['passed'] else 'failed'}: {counts} |")


def read_options():
    parser = argparse.ArgumentParser(
        prog="ci/kernels", description=__doc__, allow_abbrev=False,
        epilog="The table counts the cases of each suite that passed; -N: N failed; (N): N were skipped. Exit status: 0 if all passed, 1"
               f" if not, 2 if something is missing. Downloads, consoles and results are in {WORK.relative_to(ROOT)}.")
    parser.add_argument("names", nargs="*", default=DEFAULT, metavar="NAME",
                        help=f"{', '.join(RELEASES)}, a series such as 6.12 (its newest version), or a version such as 6.12.101; for arm64,"
                             f" such as arm64-6.1 (default: {' '.join(DEFAULT)})")
    parser.add_argument("--again", action="store_true", help="also runs what this build has run already")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="writes the results to FILE as JSON after each kernel")
    parser.add_argument("--junit", type=pathlib.Path, metavar="FILE", help="writes the results to FILE as JUnit XML after each kernel")
    parser.add_argument("--list", action="store_true", help="only lists the kernels")
    parser.add_argument("--shell", metavar="NAME", help="boots this kernel and opens a shell; the tests are there")
    parser.add_argument("--table", nargs="+", type=pathlib.Path, metavar="FILE", help="prints the rows of ci/README.md from such JSON files")
    return parser.parse_args()


def main():
    options = read_options()
    if options.table:
        print("\n".join(as_markdown(result for path in options.table for result in json.loads(path.read_text())["kernels"])))
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    if options.list:
        for architecture in ARCHITECTURES:
            print("".join(f"{kernel['name']:<16}{kernel['suite']:<20}{kernel['package']}\n" for kernel in kernels(architecture)), end="")
        return 0
    if options.shell:
        kernel = chosen(options.shell)
        return subprocess.run(Guest(kernel["architecture"]).qemu(image_of(kernel), "shell"), check=False).returncode
    wanted = list({kernel["name"]: kernel for kernel in map(chosen, options.names)}.values())
    guests = {architecture: Guest(architecture) for architecture in {kernel["architecture"]: 0 for kernel in wanted}}
    results = []
    write_files(options, results, wanted)  # better told now than later, and no older file passes for this run's
    print(f"{'':<23}" + "".join(f"{suite:>14}" for suite in SUITES))
    for kernel in wanted:
        guest, file = guests[kernel["architecture"]], WORK / f"{kernel['name']}.json"
        result = json.loads(file.read_text()) if file.exists() and not options.again else {}
        if result.get("key") != guest.key or result.get("version") != kernel["version"]:
            result = boot(kernel, guest)
            file.write_text(json.dumps(result, indent=1))
        results.append(result)
        print(row(result), flush=True)
        write_files(options, results, wanted)
    return 0 if have_passed(results, wanted) else 1


def have_passed(results, wanted):
    return len(results) == len(wanted) and all(result["passed"] for result in results)


def write_files(options, results, wanted):
    if options.json:
        options.json.write_text(json.dumps({"passed": have_passed(results, wanted), "kernels": results}, indent=1) + "\n")
    if options.junit:
        options.junit.write_text(as_junit(results, wanted))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refusal as refusal:
        print(f"ci/kernels: {refusal}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
