#!/usr/bin/env bash
# Runs the tests in a real mesh, in namespaces of their own (network, mounts, process ids): what is
# started there ends with the first process, whatever happens.
#
# usage: test-mesh.sh [FILTER]         several filters with commas between them
#        test-mesh.sh --shell         a shell in the mesh, in which istio/README.md can be followed
#        test-mesh.sh --possible      says what is missing here, and fails, where they cannot run
#
#   LEASTLOAD_MESH_ENVOY=1.40.0       another Envoy than the one of Istio 1.31
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

lacking=''
if [ "$(uname -s)" != Linux ]; then lacking="Linux"
elif [ "$(id -u)" != 0 ]; then lacking="root, for network namespaces"
elif ! unshare --net --mount --pid --fork true 2>/dev/null; then lacking="the right to make namespaces"
elif ! ensure_go; then lacking="Go 1.$GO_MINOR or newer (https://go.dev/dl)"
fi
if [ "${1:-}" = --possible ]; then
  [ -z "$lacking" ] || say "they need $lacking"
  [ -z "$lacking" ]
  exit
fi
[ -z "$lacking" ] || die "the mesh tests need $lacking: see to it, then run 'make test-mesh' again."

ensure_cargo
LEASTLOAD_MESH_TOOLS=$(scripts/build-mesh.sh)
export LEASTLOAD_MESH_TOOLS
python3 -B scripts/oci_layout.py dist/leastload.wasm dist/image >/dev/null

# Cargo says where the test program is; it must not run outside of the namespaces.
program=$(cargo test --locked --package leastload-mesh --test mesh --no-run --message-format=json |
  python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "mesh":
        print(message["executable"])')
# Binaries of another package, which cargo does not build for a test.
cargo build --locked --quiet --package leastload-fleet --bin greeter-server --bin load

namespaces=(unshare --net --mount --pid --fork --kill-child --mount-proc --)
if [ "${1:-}" = --shell ]; then
  LEASTLOAD_MESH_RUN=mesh-shell LEASTLOAD_MESH_SHELL=1 exec "${namespaces[@]}" "$program"
fi
"${namespaces[@]}" "$program" "$@" </dev/null &
run=$!
trap 'kill -KILL $run 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
wait $run
