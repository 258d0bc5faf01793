# Everything a developer does here, by name. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The stages use every core themselves, and their output is read in order.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

target := $(or $(CARGO_TARGET_DIR),target)
wasm := $(target)/wasm/wasm32-wasip1/release
host = $(shell rustc -vV | sed -n 's/^host: //p')
heading = @printf '\n== %s\n'

# What tests, benchmark and `make run` work on.
export AUTHGEAR_FILTER_WASM := $(CURDIR)/dist/authgear_filter.wasm
export NOOP_FILTER_WASM := $(abspath $(wasm))/noop_filter.wasm
with_envoy = ENVOY=$$(scripts/envoy); export ENVOY;
# Most tests wait for a real Envoy rather than compute, so more of them run at once than there are cores: as .config/nextest.toml
# has it for two.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Modules of tests/e2e where requests wait: run once more under Envoy's other answer to what comes after headers that wait. Of
# those that take long and wait as the others do, CI alone does so.
waiting := jwks::keys jwks::rotation jwks::shared_keys session::background_refresh session::relayed_cookies \
	session::resolver_calls session::session_faults waiting::crowds waiting::disconnects waiting::load \
	$(if $(CI),jwks::key_faults operation::outages)

.PHONY: help setup build schema noop-filter devkit run test lint tests simulate image-test reproduce compose-test mutants bench clean

help: ## Show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  make %-14s%s\n' "$$name" "$$text"; done

setup: ## Provide the wasm target, Binaryen and Envoy (build, run and test do so themselves)
	$(heading) Setup
	@scripts/wasm-cargo setup
	@scripts/wasm-opt setup
	@scripts/envoy

build: ## Build dist/authgear_filter.wasm
	$(heading) Build
	@scripts/wasm-cargo build --release --lib
	@mkdir -p dist
	@cargo run --quiet --package snip -- $(wasm)/authgear_filter.wasm $(wasm)/snipped.wasm
	@scripts/wasm-opt $(wasm)/snipped.wasm dist/authgear_filter.wasm
	@cd dist && sha256sum authgear_filter.wasm >authgear_filter.wasm.sha256
	@ls -l dist/authgear_filter.wasm | awk '{ print $$NF ": " $$5 " bytes" }'

schema: ## Write docs/schema.json and the reference in docs/configuration.md from the tables of gate/src/config
	$(heading) Schema
	@cargo run --quiet --package authgear-gate --features schema --example schema

# With all the callbacks that the SDK exports: the do-nothing filter is what anybody builds.
noop-filter: ## Build the do-nothing filter that the benchmark compares with
	$(heading) 'Do-nothing filter'
	@AUTHGEAR_FILTER_EXPORTS=all scripts/wasm-cargo build --release --package noop-filter

# Linked statically, so that one binary runs in debian:bookworm-slim whatever glibc it was built beside. Only with an explicit
# target do these flags not apply to build scripts and procedural macros.
devkit: ## Build dist/devkit, the static binary that docker-compose.yml runs
	$(heading) 'Devkit for containers'
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --package authgear-devkit --no-default-features --target $(host) --target-dir $(target)/static
	@mkdir -p dist
	@install -m 755 -s $(target)/static/$(host)/debug/devkit dist/devkit.new
	@mv dist/devkit.new dist/devkit

run: build ## Run Envoy with the filter, a fake Authgear (or the real AUTHGEAR_ENDPOINT) and a demo application
	$(heading) 'Devkit'
	@cargo build --package authgear-devkit --no-default-features
	$(heading) Run
	@$(with_envoy) exec cargo run --quiet --package authgear-devkit --no-default-features -- run

test: ## Check everything: lint, tests, image-test, compose-test; what cannot be tested here is named, at the start and at the end
	$(heading) Preflight
	@untested=$$(scripts/preflight) || { echo "$$untested" >&2; exit 1; }; \
	if [ -n "$$untested" ]; then echo "$$untested"; fi; \
	stages=; \
	case $$untested in *'image: '*) ;; *) stages=image-test ;; esac; \
	case $$untested in *'compose stack: '*) ;; *) stages="$$stages compose-test" ;; esac; \
	$(MAKE) setup lint tests $$stages; \
	if [ -n "$$untested" ]; then printf '\n== Not tested here\n%s\n' "$$untested"; fi

lint: ## Check format, clippy, documentation, shell scripts, workflows, licences and sources
	$(heading) Lint
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo clippy --package authgear-devkit --no-default-features -- -D warnings
	@scripts/wasm-cargo clippy --lib -- -D warnings
	@RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --workspace --no-deps --document-private-items
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/*; \
	elif [ -n "$${CI:-}" ]; then echo 'shellcheck is not installed' >&2; exit 1; \
	else echo 'shellcheck is not installed: shell scripts not checked'; fi
	@scripts/lint-workflows
	@scripts/deny

tests: build noop-filter ## Run unit tests, and end-to-end tests in the real Envoy
	$(heading) Tests
	@$(with_envoy) if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace; else cargo test --workspace --lib --bins --tests; fi
	$(heading) 'Tests of waiting requests, with allow_on_headers_stop_iteration'
	@$(with_envoy) export DEVKIT_ALLOW_ON_HEADERS_STOP_ITERATION=true; \
	if cargo nextest --version >/dev/null 2>&1; then run='nextest run'; else run=test; fi; cargo $$run --test e2e -- $(waiting:%=%::)
	@cargo test --quiet --workspace --doc

# `make tests` has some seconds of it.
simulate: ## Simulate worlds around the engine: for DURATION (60) seconds, or one of them again, by SEED and STEPS
	$(heading) Simulation
	@cargo test --quiet --profile bench-native --package authgear-gate --test simulation -- --ignored --nocapture

image-test: build ## Write the OCI image, push it to a registry of its own, and pull it in every way
	$(heading) Image
	@scripts/image-test

reproduce: ## Build the module in two folders with the toolchain of a release, and compare the bytes
	$(heading) Reproduce
	@scripts/release reproduce

compose-test: build devkit ## Test the stack of docker-compose.yml in containers
	$(heading) 'Compose stack'
	@scripts/compose-images
	@scripts/compose-test

mutants: ## Break the engine place by place and count what its native tests see: MUTANTS=100 for a sample, else hours
	$(heading) Mutants
	@scripts/mutants $(MUTANTS)

bench: build noop-filter ## Measure what the filter costs, beside Envoy's own filters, and draw docs/benchmark.svg
	$(heading) Benchmark
	@cargo build --profile bench-native --package authgear-devkit
	@$(with_envoy) cargo run --quiet --profile bench-native --package authgear-devkit -- bench --svg docs/benchmark.svg

clean: ## Remove what was built here (the cache of tools stays)
	@cargo clean --quiet
	@rm -rf dist
