#!/usr/bin/env bash
# Builds the simulator and runs it.
#
# usage: sim.sh run FILE [OPTION...]: a JSON line for each policy and situation of a scenario
#        sim.sh fleets [OPTION...]: fleets drawn at random, a table of those where leastload does worst
#        sim.sh report [OPTION...]: every scenario with several seeds, as dist/sim/report.html
#        sim.sh against FILE: what make fleet measured, simulated
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

task=${1:-}
case $task in
  run)
    [ -n "${2:-}" ] || die "which scenario? make sim SCENARIO=tests/sim/scenarios/NAME.json [SEED=1] [POLICY=label] [TRACE=folder]" ;;
  fleets | report | against) ;;
  *) die "sim.sh takes run, fleets, report or against, not '$task'." ;;
esac
shift
ensure_cargo

# Lines are for other programs: nothing else goes to the standard output.
cargo build --locked --profile sim --package leastload-sim --bin sim >&2
if [ "$task" != report ]; then exec target/sim/sim "$task" "$@"; fi

shopt -s nullglob
scenarios=(tests/sim/scenarios/*.json)
[ ${#scenarios[@]} -gt 0 ] || die "there is no scenario in tests/sim/scenarios."
# What an earlier run left must not pass for this one's.
rm -rf dist/sim
target/sim/sim report "${scenarios[@]}" --out dist/sim "$@"
say "dist/sim/report.html, dist/sim/standing.md and dist/sim/lines.jsonl are written"
