#!/usr/bin/env bash
# CPU per request in real Envoys; arguments go to the program (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

scripts/build-wasm.sh
scripts/build-wasm.sh --package leastload-empty --output target/empty.wasm
cargo build --locked --profile bench --package leastload-bench --bin bench

target/release/bench "$@"
