#!/usr/bin/env bash
# Runs every test there is, the later ones too when an earlier one fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

failed=0
say "== tests of the scripts"
python3 -B -m unittest discover -v -s scripts/tests || failed=1
say "== tests of the workspace"
cargo test --workspace --locked --no-fail-fast || failed=1
say "== tests of filter/core in WebAssembly"
scripts/test-wasm.sh || failed=1
exit $failed
