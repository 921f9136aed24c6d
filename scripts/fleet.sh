#!/usr/bin/env bash
# Runs the fleet of real Envoys, then the simulator on the same rows, beside each other.
#
# usage: fleet.sh [OPTION...]: options of the fleet; --help lists them
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

result=dist/fleet/fleet.json
# What an earlier run left must not pass for this one's.
rm -f "$result"
cargo run --locked --profile bench --package leastload-fleet --bin fleet -- "$@"
if [ -f "$result" ]; then
  say "the same rows, simulated"
  scripts/sim.sh against "$result"
fi
