#!/usr/bin/env bash
# Counts the tests in the log of a test run (cargo test and Python's unittest), names every one that
# was skipped, and ends with the line "N passed, N failed, N skipped".
#
# usage: tally.sh LOG [EXIT_STATUS_OF_THE_RUN]
#
# Fails when a test failed, when none ran, and when the run failed though every test passed (it did
# not build, a test process died, or a lint complained): that counts as one failure.
set -euo pipefail

awk -v status="${2:-0}" '
  /^test result: / {
    for (field = 1; field < NF; field++) {
      if ($(field + 1) ~ /^passed/) passed += $field
      if ($(field + 1) ~ /^failed/) failed += $field
      if ($(field + 1) ~ /^ignored/) skipped += $field
      if ($(field + 1) == "filtered") { skipped += $field; filtered += $field }
    }
    next
  }
  /^test .* \.\.\. ignored/ { print "skipped: " substr($0, 6); named++; next }
  /^test.* \.\.\. skipped / { print "skipped: " $0; named++; next }
  /^Ran [0-9]+ tests? in / { ran = $2; next }
  ran != "" && /^(OK|FAILED)/ {
    bad = outside = 0
    counts = $0
    gsub(/[(),=]/, " ", counts)
    fields = split(counts, word, " ")
    for (field = 1; field < fields; field++) {
      if (word[field] ~ /^(failures|errors)$/) bad += word[field + 1]
      if (word[field] == "skipped") outside += word[field + 1]
    }
    failed += bad
    skipped += outside
    passed += ran - bad - outside
    ran = ""
  }
  END {
    if (filtered) print filtered " tests were left out by a filter"
    if (skipped - filtered > named) print (skipped - filtered - named) " more were skipped without saying their names"
    if (status != 0 && !failed) { failed = 1; print "the run failed (exit status " status ") though no test did: counted as one failure" }
    if (passed + failed == 0) print "no test ran"
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit (failed || !passed) ? 1 : 0
  }
' "$1"
