//go:build tools

package tools

import (
	_ "github.com/google/go-containerregistry/cmd/crane"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
