#!/usr/bin/env bash
# Breaks filter/core in every small way cargo-mutants knows, one at a time, and runs its tests: they
# must notice. Fails when they do not, unless filter/core/mutants.md says why that is right.
#
# usage: mutants.sh [ARGUMENT OF cargo mutants]...     e.g. --file filter/core/src/pick.rs
#
#   MUTANTS_SHARD    K/N: the part K of N only, K from 0 (default: all)
#   MUTANTS_SECONDS  how long it may take (default 7200); with more to do, run it in parts
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

VERSION=27.1.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/leastload
limit=${MUTANTS_SECONDS:-7200}

ensure_cargo
root=$cache/cargo-mutants-$VERSION
if [ ! -x "$root/bin/cargo-mutants" ]; then
  say "installing cargo-mutants $VERSION"
  cargo install cargo-mutants --version $VERSION --locked --root "$root" --quiet
fi

part=whole arguments=("$@")
[ $# -eq 0 ] || part=part
if [ -n "${MUTANTS_SHARD:-}" ]; then
  part=part
  arguments+=(--shard "$MUTANTS_SHARD")
fi

# Built for speed of building and of running, with the same seeds each time. The target folder
# outlives the run, so that the dependencies are built once.
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
export CARGO_TARGET_DIR=$cache/mutants-target
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_LTO=off
export PROPTEST_CASES=64 PROPTEST_RNG_SEED=1 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

status=0
timeout --signal=INT --kill-after=60 "$limit" "$root/bin/cargo-mutants" mutants --package leastload-core \
  --jobs 1 --no-shuffle --colors never --output "$output" "${arguments[@]}" || status=$?
case $status in
  0 | 2 | 3) ;; # all found; some not; some by hanging
  124) die "not done within $limit s: give it longer by MUTANTS_SECONDS, or a part by MUTANTS_SHARD=0/4." ;;
  *) die "cargo-mutants failed (exit status $status)." ;;
esac
python3 scripts/survivors.py "$output/mutants.out" filter/core/mutants.md $part
