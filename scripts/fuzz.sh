#!/usr/bin/env bash
# Fuzzes every target of tests/fuzz with coverage, each for a bounded time, starting from the corpus
# and the past findings. Fails on a finding and says where the input is. What it discovers is kept
# in the cache for the next run.
#
# usage: fuzz.sh [TARGET...]
#
#   FUZZ_SECONDS     time for each target, 60 by default
#   FUZZ_JOBS        how many targets at once, 1 by default
#   FUZZ_TOOLCHAIN   auto (default): rustup's nightly, else the stable compiler, allowed to use
#                    unstable flags; nightly or stable: that way only
#   FUZZ_KEEP=1      afterwards adds to the corpus what covers more, minimised
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

CARGO_FUZZ=0.13.1
SECONDS_EACH=${FUZZ_SECONDS:-60}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/leastload/fuzz
CRATE=tests/fuzz
TARGETS=$CRATE/targets
# Longest input: a configuration or an answer with some depth; more only slows it down.
MAX_BYTES=8192

[[ $SECONDS_EACH =~ ^[1-9][0-9]*$ ]] || die "FUZZ_SECONDS is a whole number of seconds, not '$SECONDS_EACH'."
ensure_cargo
have g++ || have c++ || apt_install g++ ||
  die "libFuzzer needs a C++ compiler, which could not be installed: install g++, then try again (apt's words: $APT_LOG)."

# The nightly compiler, asked for once.
has_nightly() { have rustup && rustup run nightly rustc --version >/dev/null 2>&1; }
use_nightly() {
  has_nightly || { have rustup && timeout 300 rustup toolchain install nightly --profile minimal </dev/null >&2 && has_nightly; } || return 1
  way="rustup's $(rustup run nightly rustc --version | cut -d' ' -f1,2)"
  cargo=(rustup run nightly cargo)
}
use_stable() {
  # Coverage instrumentation is unstable only in name; this variable allows it.
  export RUSTC_BOOTSTRAP=1
  way="the stable $(rustc --version | cut -d' ' -f1,2), with RUSTC_BOOTSTRAP"
  cargo=(cargo)
}
way='' cargo=()
case ${FUZZ_TOOLCHAIN:-auto} in
  auto) use_nightly || use_stable ;;
  nightly) use_nightly || die "no nightly compiler here: run 'rustup toolchain install nightly'." ;;
  stable) use_stable ;;
  *) die "FUZZ_TOOLCHAIN is auto, nightly or stable, not '$FUZZ_TOOLCHAIN'." ;;
esac

if [ "$("$CACHE/bin/cargo-fuzz" --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ" ]; then
  say "installing cargo-fuzz $CARGO_FUZZ"
  RUSTC_BOOTSTRAP='' cargo install cargo-fuzz --locked --version "$CARGO_FUZZ" --root "$CACHE" --quiet --no-track --force ||
    die "cargo-fuzz could not be installed: run 'cargo install cargo-fuzz', then try again."
fi
export PATH=$CACHE/bin:$PATH

# No sanitizer: the code has no unsafe blocks, and without one the runs are twice as many.
build=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
say "building the targets by $way, without a sanitizer"
CARGO_TARGET_DIR=$build CARGO_TERM_QUIET=true "${cargo[@]}" fuzz build --fuzz-dir $TARGETS --sanitizer none
binaries=$(dirname "$(find "$build" -path '*/release/address' -type f -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-)")

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd $TARGETS && for shim in *.rs; do echo "${shim%.rs}"; done)

# One target: past findings and the corpus first, then whatever is found from there.
fuzz_one() {
  local name=$1 grown=$CACHE/corpus/$1 new=$CRATE/findings/$1 log=$CACHE/$1.log options=()
  [ -x "$binaries/$name" ] || { say "there is no target '$name'"; return 1; }
  mkdir -p "$grown" "$CRATE/corpus/$name"
  [ ! -s "$TARGETS/$name.dict" ] || options+=("-dict=$TARGETS/$name.dict")
  local seeds=("$CRATE/corpus/$name")
  [ ! -d "$new" ] || seeds+=("$new")
  mkdir -p "$CACHE/found/$name"
  if ! nice "$binaries/$name" "$grown" "${seeds[@]}" "${options[@]}" -max_total_time="$SECONDS_EACH" \
    -max_len=$MAX_BYTES -timeout=10 -rss_limit_mb=1024 -artifact_prefix="$CACHE/found/$name/" \
    -print_final_stats=1 >"$log" 2>&1; then
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    grep -m1 -A2 'panicked at\|ERROR: libFuzzer' "$log" || tail -5 "$log"
    if [ -n "$input" ]; then
      mkdir -p "$new"
      cp "$input" "$new/$(basename "$input")"
      say "FOUND by $name: $new/$(basename "$input") (kept: 'cargo test -p leastload-fuzz' replays it)"
    else
      say "FAILED: $name, see $log"
    fi
    return 1
  fi
  say "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs in $SECONDS_EACH s, $(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2) edges, nothing found"
}

# Adds what covers more edges than the corpus does, the smallest inputs first.
keep() {
  local name=$1 grown=$CACHE/corpus/$1
  nice "$binaries/$name" -set_cover_merge=1 -use_counters=0 -max_len=512 "$CRATE/corpus/$name" "$grown" >"$CACHE/$name.merge.log" 2>&1 ||
    { say "merging the corpus of $name failed, see $CACHE/$name.merge.log"; return 1; }
}

say "fuzzing ${names[*]}: $SECONDS_EACH s each"
failed=0 running=0
for name in "${names[@]}"; do
  if [ "$running" -ge "${FUZZ_JOBS:-1}" ]; then wait -n || failed=1; running=$((running - 1)); fi
  fuzz_one "$name" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do wait -n || failed=1; running=$((running - 1)); done
if [ "${FUZZ_KEEP:-0}" = 1 ]; then for name in "${names[@]}"; do keep "$name" || failed=1; done; fi
[ $failed = 0 ] || die "fuzzing found something, or could not run: see above."
