#!/usr/bin/env bash
# Builds the programs of the mesh tests from Go modules (tests/mesh/go/go.mod pins their versions)
# into the user's cache folder, once: about ten minutes on two cores and 5 GB. Prints the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

KUBERNETES=v1.36.3

ensure_go ||
  die "the mesh tests need Go 1.$GO_MINOR or newer: install it (https://go.dev/dl), then run 'make test-mesh' again."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/leastload/mesh
# What is built depends on these alone.
wanted=$(cat tests/mesh/go/go.mod tests/mesh/go/go.sum tests/mesh/go/epslice/main.go scripts/build-mesh.sh |
  sha256sum | cut -c1-16)
folder=$cache/$wanted
if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
fi
if [ ! -e "$folder/complete" ]; then
  say "building etcd, kube-apiserver, kubectl, istiod, pilot-agent and crane (once, about ten minutes)" >&2
  rm -rf "$folder"
  mkdir -p "$folder/bin" "$folder/share"
  component=k8s.io/component-base/version
  (
    cd tests/mesh/go
    CGO_ENABLED=0 go build -trimpath -o "$folder/bin/" -ldflags "-s -w \
      -X $component.gitVersion=$KUBERNETES -X $component.gitMajor=1 -X $component.gitMinor=36 \
      -X $component.gitTreeState=clean" \
      istio.io/istio/pilot/cmd/pilot-discovery istio.io/istio/pilot/cmd/pilot-agent \
      k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl \
      go.etcd.io/etcd/server/v3 github.com/google/go-containerregistry/cmd/crane ./epslice
    # The command's folder is a major version, v3.
    mv "$folder"/bin/server "$folder/bin/etcd"
    istio=$(go list -m -f '{{.Dir}}' istio.io/istio)
    gateway=$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
    cp "$istio/manifests/charts/base/files/crd-all.gen.yaml" "$folder/share/istio-crds.yaml"
    cp "$istio/tools/packaging/common/envoy_bootstrap.json" "$folder/share/"
    cp -r "$gateway/config/crd/standard" "$folder/share/gateway-api-crds"
  ) >&2 9>&-
  chmod -R u+w "$folder"
  touch "$folder/complete"
fi
say "$folder"
