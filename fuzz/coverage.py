"""Says which lines and branches of a source file the program reached: coverage.py SOURCE UNREACHABLE PROFILE PROGRAM

A line or branch is reached if any instantiation of it was. UNREACHABLE is a file of regular expressions: lines
that match one do not count. Status 1 unless everything else was reached.
"""
import json
import re
import subprocess
import sys


def exported(profile, program, source, *options):
    return subprocess.run(["llvm-cov", "export", *options, "-instr-profile", profile, program, source],
                          check=True, capture_output=True, text=True).stdout


def main():
    source, unreachable, profile, program = sys.argv[1:]
    text = open(source).read().splitlines()
    patterns = [re.compile(line) for line in open(unreachable).read().splitlines() if line and line[0] != "#"]
    counts = lambda line: not any(pattern.search(text[line - 1]) for pattern in patterns)

    lines = {}
    for line, taken in re.findall(r"^DA:(\d+),(\d+)", exported(profile, program, source, "-format=lcov"), re.M):
        if counts(int(line)):
            lines[int(line)] = lines.get(int(line), 0) + int(taken)
    branches = {}
    for file in json.loads(exported(profile, program, source))["data"][0]["files"]:
        for line, column, end_line, end_column, true, false, *_ in file["branches"]:
            if counts(line):
                condition = text[line - 1][column - 1:end_column - 1] if line == end_line else text[line - 1][column - 1:]
                for outcome, taken in (("true", true), ("false", false)):
                    key = (line, column, condition, outcome)
                    branches[key] = branches.get(key, 0) + taken

    reached_lines = sum(taken > 0 for taken in lines.values())
    reached_branches = sum(taken > 0 for taken in branches.values())
    print(f"{source}, by the committed corpus: lines {reached_lines}/{len(lines)}, branches {reached_branches}/{len(branches)}")
    for line, taken in sorted(lines.items()):
        if taken == 0:
            print(f"  {source}:{line}: never reached: {text[line - 1].strip()}")
    for (line, column, condition, outcome), taken in sorted(branches.items()):
        if taken == 0:
            print(f"  {source}:{line}:{column}: never {outcome}: {condition}")
    is_whole = 0 < len(lines) == reached_lines and 0 < len(branches) == reached_branches
    if not is_whole:
        print(f"coverage: found the gaps above, expected none; add inputs (fuzz, then ci/fuzz --minimise), or name in "
              f"{unreachable} what cannot be reached", file=sys.stderr)
    return 0 if is_whole else 1


sys.exit(main())
