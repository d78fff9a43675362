#!/usr/bin/env python3
"""derive.py MUTANT HEADER OUTPUT: writes HEADER with the changes of MUTANT.

A mutant has a head of lines that begin with '#', and then changes: lines that begin with '-' stand in the header,
one after the other, and only there; the lines that follow with '+' take their place. Indentation does not count
in what is looked for. A line of the mutant that is empty ends a change.
"""
import sys


def changes_of(mutant):
    """Pairs of the lines that go and the lines that come."""
    changes = []
    gone, come = [], []
    for line in mutant.read().splitlines() + [""]:
        if line.startswith("#"):
            continue
        if line.startswith("-") and not come:
            gone.append(line[1:].strip())
        elif line.startswith("+"):
            come.append(line[1:])
        elif line.strip() or (come and not gone):
            sys.exit(f"{mutant.name}: '{line}' is out of place; write lines with '-' and then lines with '+'")
        else:
            if gone:
                changes.append((gone, come))
            gone, come = [], []
    return changes


def main():
    mutant_path, header_path, output_path = sys.argv[1:]
    with open(mutant_path) as mutant:
        changes = changes_of(mutant)
    if not changes:
        sys.exit(f"{mutant_path} has no change")
    with open(header_path) as header:
        lines = header.read().splitlines()
    for gone, come in changes:
        stripped = [line.strip() for line in lines]
        places = [i for i in range(len(lines)) if stripped[i:i + len(gone)] == gone]
        if len(places) != 1:
            text = "\n  ".join(gone)
            sys.exit(f"{mutant_path}: these lines stand {len(places)} times in {header_path}, not once:\n  {text}")
        lines[places[0]:places[0] + len(gone)] = come
    with open(output_path, "w") as output:
        output.write("\n".join(lines) + "\n")


main()
