#!/usr/bin/env bash
# Builds the module by whichever way works on this machine and says which.
#
# usage: build-wasm.sh [--features LIST] [--output FILE] [--package NAME]
#
#   --package            another module than ours: one of those that tests load, of any size
#   LEASTLOAD_TOOLCHAIN  auto (default), rustup or distribution: see use_wasm_rust in lib.sh
#   LEASTLOAD_WASM_OPT   auto (default): wasm-opt where one is found; off; or the path of one
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

TARGET=wasm32-wasip1
MAX_BYTES=400000
# What every Envoy's V8 accepts and rustc emits for the target; spelled out, as stripping drops
# the section that would tell wasm-opt.
WASM_OPT_FLAGS=(-Oz --enable-bulk-memory --enable-sign-ext --enable-mutable-globals
  --enable-nontrapping-float-to-int --enable-multivalue --enable-reference-types)

features='' output=dist/leastload.wasm package=leastload-plugin library=leastload
while [ $# -gt 0 ]; do
  case $1 in
    --features) features=$2 ;;
    --output) output=$2 ;;
    --package) package=$2 library=${2//-/_} MAX_BYTES=5000000 ;;
    *) die "build-wasm.sh does not know '$1': it takes --features LIST, --output FILE and --package NAME." ;;
  esac
  shift 2
done

find_wasm_opt() {
  case ${LEASTLOAD_WASM_OPT:-auto} in
    off) return 1 ;;
    auto) command -v wasm-opt || { [ -x node_modules/.bin/wasm-opt ] && echo node_modules/.bin/wasm-opt; } ;;
    *) [ -x "$LEASTLOAD_WASM_OPT" ] || die "LEASTLOAD_WASM_OPT names no program: $LEASTLOAD_WASM_OPT."
       echo "$LEASTLOAD_WASM_OPT" ;;
  esac
}

ensure_cargo
use_wasm_rust $TARGET
cargo_flags+=(--release --locked --package "$package" --target "$TARGET")
[ -z "$features" ] || cargo_flags+=(--features "$features")

# The same bytes wherever the checkout and the crates lie, and whatever flags the caller uses.
# A variant with other features has its own folder, so that it and the release do not undo each
# other's work.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
target_dir=${CARGO_TARGET_DIR:-target}${features:+/variants}
cargo fetch --locked --target $TARGET --quiet
rustflags+=("--remap-path-prefix=$PWD=/leastload")
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
  rustflags+=("--remap-path-prefix=${registry%/}=/crates")
done
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="${rustflags[*]}"

say "building $library.wasm by $way"
cargo build "${cargo_flags[@]}" --target-dir "$target_dir"
built=$target_dir/$TARGET/release/$library.wasm
if [ "$package" = leastload-plugin ]; then
  python3 -B scripts/trim_wasm.py "$built" "$built.trimmed"
  built=$built.trimmed
fi

# wasm-opt's answer is kept under the digest of what it was asked, so an unchanged build is instant.
module=$built note='wasm-opt not found, not needed'
[ "${LEASTLOAD_WASM_OPT:-auto}" != off ] || note='wasm-opt switched off'
if wasm_opt=$(find_wasm_opt); then
  key=$({ sha256sum <"$built"; stat -Lc '%n %s %Y' "$wasm_opt"; echo "${WASM_OPT_FLAGS[*]}"; } | sha256sum | cut -c1-16)
  module=$target_dir/wasm-opt/$key.wasm
  if [ ! -s "$module" ]; then
    mkdir -p "$target_dir/wasm-opt"
    "$wasm_opt" "${WASM_OPT_FLAGS[@]}" "$built" -o "$module.new" && mv "$module.new" "$module" || module=$built
  fi
  note="wasm-opt ${WASM_OPT_FLAGS[0]}, $(stat -c %s "$built") before"
  [ "$module" != "$built" ] || note="wasm-opt failed, left out"
fi

python3 scripts/check_wasm.py "$module" $MAX_BYTES || die "the module above must not be shipped: nothing was written to $output."
mkdir -p "$(dirname "$output")"
if ! cmp -s "$module" "$output"; then cp "$module" "$output.new" && mv "$output.new" "$output"; fi
say "$output: $(stat -c %s "$output") bytes ($note), sha256 $(sha256sum "$output" | cut -d' ' -f1)"
