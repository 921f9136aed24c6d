#!/bin/sh
# Prints the path of a Python that has grpcio, making a virtual environment for it in the user's
# cache folder where it is missing. Safe to run several at a time: each works in a folder of its own
# and renames it at the end.
set -eu

version=1.76.0
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/leastload/interop
ready=$cache/grpcio-$version
if [ -x "$ready/bin/python" ]; then
    echo "$ready/bin/python"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.setup.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
fail() {
    echo "interop: $1; the interoperability test needs python3 with venv and a reachable PyPI" >&2
    exit 1
}
python3 -m venv "$work/venv" >&2 || fail "python3 -m venv failed"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
    "grpcio==$version" >&2 || fail "pip could not install grpcio==$version"
# A virtual environment's python works from anywhere; only its scripts name the folder.
mv -T "$work/venv" "$ready" 2>/dev/null || [ -x "$ready/bin/python" ] || fail "cannot write $ready"
echo "$ready/bin/python"
