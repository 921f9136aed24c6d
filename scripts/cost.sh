#!/usr/bin/env bash
# Counts what a request costs and compares it with tests/filter/cost-budget.json.
#
# usage: cost.sh [--accept] [--only PART_OF_A_NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

# What built the module, as the build itself says it.
said=$(scripts/build-wasm.sh)
say "$said"
toolchain=$(sed -n 's/^building .* by //p' <<<"$said")
note=$(sed -n 's/.* bytes (\(.*\)), sha256 .*/\1/p' <<<"$said")
export LEASTLOAD_WASM=$PWD/dist/leastload.wasm
exec cargo run --quiet --locked --package leastload-filter-tests --bin cost -- \
  --toolchain "$toolchain; ${note%%, [0-9]*}" "$@"
