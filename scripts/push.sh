#!/usr/bin/env bash
# Pushes the image that 'make image' wrote, and sees that the registry then has that very one.
#
# usage: push.sh HOST/NAME:TAG [LAYOUT]
#
#   CRANE         the crane to push with; where unset that in PATH, and where there is none, skopeo
#   PLAIN_HTTP=1  the registry may be without TLS
#
# Either program takes the credentials that 'crane auth login' or 'docker login' left.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

image=${1:-} layout=${2:-dist/image}
[ -n "$image" ] || die "where to? Give IMAGE=host/name:tag."
# Without a host, programs would think of Docker Hub; without a tag, of "latest", which Istio pulls anew.
[[ $image =~ ^(localhost|[^/@]*[.:][^/@]*)/[^:@]+:[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] ||
  die "IMAGE is host/name:tag, such as registry.example/leastload:1.0, not '$image'."
host=${image%%/*}
[ -s "$layout/index.json" ] || die "there is no image in $layout: run 'make image' first."
digest=$(python3 -c 'import json, sys
manifest, = json.load(sys.stdin)["manifests"]
print(manifest["digest"])' 2>/dev/null <"$layout/index.json") || die "$layout is no layout of one image: run 'make image' again."

crane=${CRANE:-crane}
if have "$crane"; then
  plain=()
  if [ "${PLAIN_HTTP:-}" = 1 ]; then plain=(--insecure); fi
  push() { "$crane" push "${plain[@]}" "$layout" "$image"; }
  manifest() { "$crane" manifest "${plain[@]}" "$image"; }
elif [ -n "${CRANE:-}" ]; then
  die "CRANE names no program: $CRANE."
elif have skopeo; then
  tls=true
  if [ "${PLAIN_HTTP:-}" = 1 ]; then tls=false; fi
  # The policy is about whose images to trust; this one is our own.
  push() { skopeo --insecure-policy copy --preserve-digests --dest-tls-verify="$tls" "oci:$layout" "docker://$image"; }
  manifest() { skopeo inspect --raw --tls-verify="$tls" "docker://$image"; }
else
  die "neither crane nor skopeo is here: install one, then try again."
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# fail WHAT: with the reason, the log's last line; skopeo quotes it, behind a time.
fail() {
  local why
  why=$(tail -n 1 "$work/log" | sed -E '/^time=/ { s/^.* msg="(.*)"$/\1/; s/\\"/"/g; }; s/^Error: //')
  if [ "${PLAIN_HTTP:-}" != 1 ] && grep -qE 'HTTP response to HTTPS|not look like a TLS' "$work/log"; then
    why+=" (if it has no TLS: PLAIN_HTTP=1)"
  fi
  die "$1: $why"
}

push >"$work/log" 2>&1 || fail "$host did not take $image"
manifest >"$work/manifest" 2>"$work/log" || fail "$host took $image but does not give it back"
found=sha256:$(sha256sum <"$work/manifest" | cut -d' ' -f1)
[ "$found" = "$digest" ] || die "$image is $found at $host, not $digest as in $layout."
say "$image@$digest"
