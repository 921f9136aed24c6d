#!/usr/bin/env bash
# The benchmarks of core, then those in real Envoys; arguments go to the latter (--help lists them).
# With --stamps only what load reports cost in real Envoys, with --waits only how long requests wait.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

scripts/build-wasm.sh
for module in empty stamps; do
  scripts/build-wasm.sh --package "leastload-$module" --output "target/$module.wasm"
done
cargo build --locked --profile bench --package leastload-bench --bin bench

# Results of an earlier run must not pass for this one's.
rm -rf target/criterion
mkdir -p dist/bench
if [[ " $* " != *" --stamps "* && " $* " != *" --waits "* ]]; then
  say "benchmarks of core"
  cargo bench --locked --package leastload-bench --bench core >dist/bench/core.log ||
    die "the benchmarks of core failed; see dist/bench/core.log."
fi
target/release/bench "$@"
