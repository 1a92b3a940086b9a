# Every target does its own set-up. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test suites bench drill fuzz fmt lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## two real servers, a pair, the proxy; kill one and watch
	@scripts/ensure-server.sh
	@cargo build --locked --bin tandem
	@cargo run --quiet --locked --bin tandem -- demo

test: ## every test: Rust, documentation, scripts, clients, docker-compose
	@scripts/ensure-server.sh
	@scripts/test.sh

suites: ## suites that others wrote, directly and through the proxy (part of them is in make test)
	@scripts/ensure-server.sh
	@scripts/test.sh all-suites

bench: ## measure against a direct connection and HAProxy; writes BENCHMARKS.md
	@bench/run.sh

drill: DRILL ?= --switchover 20 --crash 10
drill: ## hurt real masters under writing clients, and measure; DRILL="--crash 50" for another one
	@scripts/ensure-server.sh
	@cargo run --quiet --locked --bin tandem -- drill $(DRILL)

fuzz: ## feed the readers of bytes what nobody would send; FUZZ="-m 1 statement" for less
	@scripts/fuzz.sh $(FUZZ)

fmt: ## format the code
	@cargo fmt

lint: ## what CI asks beyond the tests
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings
