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
# The mesh tests need namespaces of their own: they come last.
cargo test --workspace --exclude leastload-mesh --locked --no-fail-fast || failed=1
say "== tests of filter/core in WebAssembly"
scripts/test-wasm.sh || failed=1
say "== tests in a real mesh"
# Where they cannot run they are left out, unless LEASTLOAD_MESH=required.
if why=$(scripts/test-mesh.sh --possible) || [ "${LEASTLOAD_MESH:-}" = required ]; then
  scripts/test-mesh.sh || failed=1
else
  say "THE TESTS IN A REAL MESH WERE LEFT OUT: $why"
fi
exit $failed
