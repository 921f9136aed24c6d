#!/usr/bin/env bash
# cargo, wherever it is on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo
exec cargo "$@"
