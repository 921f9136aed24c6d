#!/usr/bin/env bash
# Runs the tests of filter/core in WebAssembly: wasm32-unknown-unknown, in node.
#
# The module's own target, wasm32-wasip1, cannot run them: there wasm-bindgen-test says "running 0
# tests" and succeeds. So that no such silence is taken for success, the tests that ran must be the
# very ones that run natively (scripts/same_tests.py).
#
#   LEASTLOAD_TOOLCHAIN  auto (default), rustup or distribution: see use_wasm_rust in lib.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

TARGET=wasm32-unknown-unknown
# Fewer would mean that the native list is wrong too.
MIN_TESTS=165

ensure_cargo
have node || die "node is missing: install nodejs, then try again."

# The runner must be of exactly the version that the tests are linked with.
version=$(awk -F'"' '/^name = "wasm-bindgen"$/ { getline; print $2 }' Cargo.lock)
root=${XDG_CACHE_HOME:-$HOME/.cache}/leastload/wasm-bindgen-$version
runner=$root/bin/wasm-bindgen-test-runner
if [ ! -x "$runner" ]; then
  say "installing wasm-bindgen-test-runner $version"
  cargo install wasm-bindgen-cli --version "$version" --no-default-features \
    --bin wasm-bindgen-test-runner --root "$root" --quiet
fi

tests=(test --locked --package leastload-core --tests)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo "${tests[@]}" --quiet -- --list >"$work/native"

use_wasm_rust $TARGET
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$runner
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="${rustflags[*]}"
say "testing leastload-core in node $(node --version) by $way"
cargo "${tests[@]}" --target $TARGET "${cargo_flags[@]}" | tee "$work/wasm"
python3 scripts/same_tests.py "$work/native" "$work/wasm" $MIN_TESTS ||
  die "a test module of core runs in both only if it says 'use crate::test;'."
