#!/usr/bin/env python3
"""Applies mutants to the source that they break.

  derive.py MUTANT SOURCE OUTPUT                writes SOURCE with the changes of MUTANT
  derive.py --algorithms SOURCE OUTPUT MUTANT...   writes a program part with the class LockAlgorithm of each

A mutant has a head of lines that begin with '#', and then changes: lines that begin with '-' stand in the source,
one after the other, and only there; the lines that follow with '+' take their place. Indentation does not count
in what is looked for. A line of the mutant that is empty ends a change.
"""
import pathlib
import sys


def changes_of(mutant):
    """Pairs of the lines that go and the lines that come."""
    changes = []
    gone, come = [], []
    for line in mutant.read_text().splitlines() + [""]:
        if line.startswith("#"):
            continue
        if line.startswith("-") and not come:
            gone.append(line[1:].strip())
        elif line.startswith("+"):
            come.append(line[1:])
        elif line.strip() or (come and not gone):
            sys.exit(f"{mutant}: '{line}' is out of place; write lines with '-' and then lines with '+'")
        else:
            if gone:
                changes.append((gone, come))
            gone, come = [], []
    if not changes:
        sys.exit(f"{mutant} has no change")
    return changes


def mutated(mutant, source):
    lines = source.read_text().splitlines()
    for gone, come in changes_of(mutant):
        stripped = [line.strip() for line in lines]
        places = [i for i in range(len(lines)) if stripped[i:i + len(gone)] == gone]
        if len(places) != 1:
            text = "\n  ".join(gone)
            sys.exit(f"{mutant}: these lines stand {len(places)} times in {source}, not once:\n  {text}")
        lines[places[0]:places[0] + len(gone)] = come
    return "\n".join(lines) + "\n"


def class_of(text):
    """The class LockAlgorithm, and what stands around it."""
    before, begin, rest = text.partition("template <class Platform>\nclass LockAlgorithm {\n")
    body, end, after = rest.partition("\n};\n")
    return begin + body + end, before + after


def algorithms(mutants, source):
    shipped, around = class_of(source.read_text())
    yield '#include "model/platform.hpp"\n'
    for mutant in mutants:
        algorithm, same = class_of(mutated(mutant, source))
        if same != around:
            sys.exit(f"{mutant} changes more than the class LockAlgorithm")
        yield f"namespace heirlock::detail_v0_1::{mutant.stem} {{\n{algorithm}}}\n"
        yield (f"static const heirlock::verify::Mutant {mutant.stem}(\n    \"{mutant.stem}\", heirlock::verify::algorithm_of<heirlock::"
               f"detail_v0_1::{mutant.stem}::LockAlgorithm<heirlock::verify::ModelPlatform>>());\n")


def main():
    if sys.argv[1] == "--algorithms":
        source, output, *mutants = map(pathlib.Path, sys.argv[2:])
        output.write_text("".join(algorithms(mutants, source)))
    else:
        mutant, source, output = map(pathlib.Path, sys.argv[1:])
        output.write_text(mutated(mutant, source))


main()
