#!/usr/bin/env python3
"""Refuses a run that did not execute the very tests that another list names.

A target on which the test harness is not understood can run nothing and report success.

usage: same_tests.py LIST LOG MINIMUM

  LIST     what `cargo test -- --list` says
  LOG      what the run to be checked printed, in cargo's form
  MINIMUM  how many tests there must be in any case
"""

import collections
import re
import sys

LISTED = re.compile(r"^(\S.*): test$", re.MULTILINE)
EXECUTED = re.compile(r"^test (\S+) \.\.\. (?:ok|FAIL)", re.MULTILINE)
TOTAL = re.compile(r"^test result: .*?(\d+) passed; (\d+) failed", re.MULTILINE)


def faults(listing, log, minimum):
    """Every reason why the run says nothing, each a sentence."""
    listed = collections.Counter(LISTED.findall(listing))
    executed = collections.Counter(EXECUTED.findall(log))
    count = executed.total()
    found = [f"it did not run: {name}" for name in sorted((listed - executed).elements())]
    found += [f"it ran what is not listed: {name}" for name in sorted((executed - listed).elements())]
    if count < minimum:
        found.append(f"it ran {count} tests, fewer than {minimum}")
    claimed = sum(int(number) for total in TOTAL.findall(log) for number in total)
    if claimed != count:
        found.append(f"it says it ran {claimed} tests, and names {count}")
    return found


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__.split("\n\n")[2])
    texts = []
    for path in arguments[:2]:
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    found = faults(*texts, int(arguments[2]))
    for fault in found:
        print(f"{arguments[1]}: {fault}", file=sys.stderr)
    if not found:
        print(f"all {len(LISTED.findall(texts[0]))} native tests ran")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
