#!/usr/bin/env python3
"""Compares the mutants that survived with those that may, and counts.

usage: survivors.py OUTPUT LIST whole|part

  OUTPUT  the folder mutants.out of cargo-mutants
  LIST    Markdown; each mutant that may survive starts a row of a table: | `FILE: MUTANT` | why |
  whole   every mutant was tried, so one that is listed and did not survive is a fault, too
"""

import collections
import pathlib
import re
import sys

ROW = re.compile(r"^\| `([^`]+)` \| *(.*?) *\|$", re.MULTILINE)
SURVIVOR = re.compile(r"^(?:filter/core/src/)?([^:]+):\d+:\d+: (.*)$")


def argued(text):
    """The mutants that may survive: how often each, as a function may have the same one twice."""
    rows = ROW.findall(text)
    for mutant, why in rows:
        if not why:
            sys.exit(f"no reason is given for: {mutant}")
    return collections.Counter(mutant for mutant, _ in rows)


def survivors(lines):
    """The mutants that survived, without lines and columns, which change with every edit."""
    return collections.Counter(SURVIVOR.sub(r"\1: \2", line) for line in lines)


def faults(survived, may, whole):
    """Every reason to fail, each a sentence."""
    found = [f"no test notices: {mutant}" for mutant in sorted((survived - may).elements())]
    if whole:
        stale = sorted((may - survived).elements())
        found += [f"listed, but a test notices it or it is gone: {mutant}" for mutant in stale]
    return found


def main(arguments):
    if len(arguments) != 3 or arguments[2] not in ("whole", "part"):
        sys.exit(__doc__.split("\n\n")[1])
    folder = pathlib.Path(arguments[0])
    lines = {
        kind: (folder / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
        for kind in ("caught", "missed", "timeout", "unviable")
    }
    survived = survivors(lines["missed"])
    may = argued(pathlib.Path(arguments[1]).read_text(encoding="utf-8"))
    found = faults(survived, may, arguments[2] == "whole")
    tried = sum(map(len, lines.values()))
    if tried == 0:
        found.append("no mutant was tried")
    print(
        f"{tried} mutants: {len(lines['caught'])} noticed by a test, {len(lines['timeout'])} by hanging, "
        f"{len(lines['unviable'])} do not compile, {survived.total()} survived, "
        f"{(survived & may).total()} of them with a reason"
    )
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
