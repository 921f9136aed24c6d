# shellcheck shell=bash
# Shared by the other scripts: messages, installing system packages, finding a Rust toolchain.
# Source it; it changes nothing by itself.

# The oldest Rust that builds the workspace (rust-version in Cargo.toml), as 1.MINOR.
RUST_MINOR=95

say() { printf '%s\n' "$*"; }
die() { printf 'leastload: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, by sudo where that needs no password; fails otherwise.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo && sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

# apt_install PACKAGE...: installs Debian packages, never removing one that is in the way.
# Fails quietly (the caller knows what the packages were for), leaving apt's words in $APT_LOG.
APT_LOG=${TMPDIR:-/tmp}/leastload-apt-$(id -u).log
apt_install() {
  have apt-get || { echo "this machine has no apt-get" >"$APT_LOG"; return 1; }
  say "installing $*"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300
    install -y --no-install-recommends --no-remove "$@")
  as_root "${install[@]}" >"$APT_LOG" 2>&1 </dev/null && return
  # The lists may be missing or old: fetch them once and try again.
  as_root apt-get -o DPkg::Lock::Timeout=300 update >>"$APT_LOG" 2>&1 </dev/null &&
    as_root "${install[@]}" >>"$APT_LOG" 2>&1 </dev/null
}

# Is this cargo there, working and new enough?
cargo_is_new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#cargo 1.}
  [ "${version%%.*}" -ge "$RUST_MINOR" ] 2>/dev/null
}

# Leaves a cargo of Rust 1.$RUST_MINOR or newer first in PATH, installing one where there is none.
ensure_cargo() {
  cargo_is_new_enough cargo && return
  local dir
  for dir in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin; do
    if cargo_is_new_enough "$dir/cargo"; then PATH=$dir:$PATH; export PATH; return; fi
  done
  if have rustup; then
    say "installing Rust by rustup"
    timeout 300 rustup toolchain install stable --profile minimal </dev/null >&2 || true
    timeout 60 rustup default stable </dev/null >&2 || true
    cargo_is_new_enough cargo && return
  fi
  PATH=/usr/bin:$PATH
  export PATH
  apt_install cargo-web rustc-web || apt_install cargo rustc || true
  hash -r
  cargo_is_new_enough cargo && return
  # Lists that were never updated know the first release only, not the security suite's.
  if have apt-get && as_root apt-get -o DPkg::Lock::Timeout=300 update >>"$APT_LOG" 2>&1 </dev/null; then
    apt_install cargo-web rustc-web || true
    hash -r
  fi
  cargo_is_new_enough cargo ||
    die "no Rust 1.$RUST_MINOR or newer here and none could be installed: install it with rustup, then run make again."
}
