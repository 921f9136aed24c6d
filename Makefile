# The front door: every task is one target, and scripts/ does the work.

CARGO := scripts/cargo.sh

.DEFAULT_GOAL := help
.PHONY: help build image push demo test test-core test-wasm test-e2e test-mesh test-mesh-all mesh-shell mutants fuzz bench fleet sim sim-fleets sim-report cost lint fmt clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## Build dist/leastload.wasm, installing what is missing
	@scripts/setup.sh build
	@scripts/build-wasm.sh

image: ## Package the module as an OCI image, as Istio loads it: dist/image
	@scripts/setup.sh build
	@scripts/build-wasm.sh
	@python3 -B scripts/oci_layout.py dist/leastload.wasm dist/image

push: ## Push that image to IMAGE=host/name:tag; PLAIN_HTTP=1 where the registry has no TLS
	@scripts/setup.sh $(if $(IMAGE),push,$(error where to? Give IMAGE=host/name:tag))
	@scripts/build-wasm.sh
	@python3 -B scripts/oci_layout.py dist/leastload.wasm dist/image
	@scripts/push.sh '$(IMAGE)'

demo: ## Real servers, real Envoys, one table: leastload beside Envoy's own balancers
	@scripts/setup.sh demo
	@scripts/build-wasm.sh
	@$(CARGO) run --locked --package leastload-fleet --bin demo

test: ## Every test, end to end in real Envoys too
	@scripts/setup.sh test
	@scripts/build-wasm.sh
	@scripts/test.sh

test-core: ## The tests of filter/core alone: seconds
	@$(CARGO) test --locked --package leastload-core

test-wasm: ## The tests of filter/core in WebAssembly, in node
	@scripts/setup.sh test-wasm
	@scripts/test-wasm.sh

test-e2e: ## The tests in real Envoys alone
	@scripts/setup.sh test
	@scripts/build-wasm.sh
	@$(CARGO) test --locked --package leastload-e2e

test-mesh: ## The tests in a real mesh: Kubernetes API, istiod, sidecars; MESH=filter
	@scripts/setup.sh test-mesh
	@scripts/build-wasm.sh
	@scripts/test-mesh.sh $(MESH)

mesh-shell: ## A shell in that mesh, in which istio/README.md can be followed
	@scripts/setup.sh test-mesh
	@scripts/build-wasm.sh
	@scripts/test-mesh.sh --shell

test-mesh-all: ## The same with every supported Envoy
	@scripts/setup.sh test-mesh
	@scripts/build-wasm.sh
	@for envoy in 1.36.2 1.37.0 1.39.3 1.40.0; do LEASTLOAD_MESH_ENVOY=$$envoy scripts/test-mesh.sh $(MESH) || exit; done

fuzz: ## Fuzz what is read from others, FUZZ_SECONDS=60 for each target
	@scripts/setup.sh build
	@scripts/fuzz.sh

bench: ## CPU per request in real Envoys and time per pick in core, beside the targets
	@scripts/setup.sh bench
	@scripts/bench.sh

fleet: ## 20 real Envoys before 20 real servers, and the simulator beside them; FLEET='--help'
	@scripts/setup.sh demo
	@scripts/build-wasm.sh
	@scripts/fleet.sh $(FLEET)

sim: ## Simulate SCENARIO=file, a JSON line for each policy; SEED=1, POLICY=label, TRACE=folder
	@scripts/setup.sh build >&2
	@scripts/sim.sh run '$(SCENARIO)' --seed $(or $(SEED),1) $(if $(POLICY),--policy '$(POLICY)') $(if $(TRACE),--trace '$(TRACE)')

sim-fleets: ## Simulate fleets drawn at random, the worst for leastload first; FLEETS='--count 300 --seed 7'
	@scripts/setup.sh build >&2
	@scripts/sim.sh fleets $(FLEETS)

sim-report: ## Simulate every scenario: dist/sim/report.html, where leastload stands in each
	@scripts/setup.sh sim-report
	@scripts/sim.sh report $(SIM)

cost: ## Host calls, instructions and memory of a request beside their budget; ACCEPT=1 sets it
	@scripts/setup.sh build
	@scripts/cost.sh $(if $(ACCEPT),--accept)

mutants: ## Break filter/core in every small way and see that its tests notice: an hour
	@scripts/mutants.sh

lint: ## Formatting, clippy, shellcheck, length of files
	@scripts/setup.sh lint
	@scripts/lint.sh

fmt: ## Format the Rust sources
	@$(CARGO) fmt --all

clean: ## Remove what was built; what was downloaded stays
	@rm -rf dist target
