# `make help` lists the targets. Needs make and Python 3.11 or newer with venv. What some tests need
# beyond that is in tests/programs.py: without it they are skipped, and `make check` refuses to start.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := tests/javascript/node_modules/.package-lock.json
WHEELS := .venv/wheels/.downloaded

.DEFAULT_GOAL := help
.PHONY: help venv demo up test test-gateway recipes docs docs-check javascript wheels browser contract chaos programs check lock lock-check loadtest verdicts rolling bench bench-gateway bench-webhooks bench-admin bench-outages clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment for everything, from the lock; made again when the lock or the project changes.
venv: $(STAMP)  ## the locked packages in .venv; every target that needs them does this first
	@echo "The locked packages are in .venv."
$(STAMP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the locked packages into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## a partner queries live stock and gets webhooks, told step by step
	@$(BIN)/partnerapi demo

up: $(STAMP)  ## the local stack in the foreground; Ctrl-C ends it
	@$(BIN)/partnerapi up

test: $(STAMP)  ## most tests, in 5 minutes on two cores; make check has those that take longer
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not recipes and not long and not browser"

test-gateway: $(STAMP)  ## the gateway's conformance cases; GATEWAY=kong runs them on a real Kong
	@$(BIN)/python -m pytest tests/gateway

recipes: $(STAMP)  ## the commands of README, docs/operations.md and docs/gateway.md, typed and compared
	@$(BIN)/python -m pytest -m recipes tests/recipes

docs-check: recipes  ## all that README and docs say: commands, the partner guide, samples, names, the demo
	@$(BIN)/python -m pytest tests/documents tests/samples tests/partner_client tests/e2e/test_demo.py

docs: $(STAMP)  ## write docs/configuration.md again, from the settings in the code
	@$(BIN)/python -m tools.configuration_page

# Registries are asked here, for as long as it takes; a run of tests asks npm's once, for 10 seconds.
javascript: $(PACKAGES)  ## the npm packages of some tests, by the Node.js of a wheel
$(PACKAGES): tests/javascript/package-lock.json | $(STAMP)
	@$(BIN)/python -m tests.javascript_library

wheels: $(WHEELS)  ## the wheels of locks/runtime.txt, which a test installs as the Dockerfile does
$(WHEELS): locks/runtime.txt | $(STAMP)
	@rm -rf $(@D)
	@$(BIN)/python -m tests.deployment.wheels
	@touch $@

browser: $(STAMP)  ## the pages of both APIs in a headless Chromium (Debian's package chromium)
	@$(BIN)/python -m pytest -m browser tests/browser

contract: $(STAMP)  ## over 2,000 cases that Schemathesis makes of the contract, through the gateway; SEED=... repeats a run
	@$(BIN)/python -m tests.cases.run

chaos: $(STAMP)  ## 10,000 stock changes while every part is killed again and again: nothing is lost
	@$(BIN)/python -m tests.chaos.run

LOADS := tests/loadtests tests/faults# each leaves most of a processor idle
ALONE := tests/integration tests/production# outages and restarts, one at a time: what they take is looked at
programs:
	@$(PYTHON) tests/programs.py || { echo "make check needs them all; make test does not"; exit 1; }

check: programs $(STAMP) $(PACKAGES) $(WHEELS)  ## format, lint, types, import contracts, lock freshness, every test, the recipes; 30 minutes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lock-check
	@$(MAKE) --no-print-directory test
	@$(BIN)/python -m pytest -n 2 --dist loadfile -rs -m long $(addprefix --ignore ,$(LOADS) $(ALONE))
	@$(BIN)/python -m pytest -n 2 -rs -m long $(LOADS)
	@$(BIN)/python -m pytest -rs -m long $(ALONE)
	@$(MAKE) --no-print-directory browser
	@$(MAKE) --no-print-directory recipes

UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate pyproject.toml
lock: $(STAMP)  ## write the lock files again from pyproject.toml (UPGRADE=--upgrade for newer releases)
	@$(UV_COMPILE) $(UPGRADE) --extra embedded --extra dev -o locks/dev.txt
	@$(UV_COMPILE) -c locks/dev.txt -o locks/runtime.txt

# Fails when pyproject.toml asks for something that the locks do not hold. Newer releases do not matter.
lock-check: $(STAMP)
	@tmp=$$(mktemp -d) && trap 'rm -rf $$tmp' EXIT && cp locks/*.txt $$tmp/ && \
	  $(UV_COMPILE) --extra embedded --extra dev -o $$tmp/dev.txt && \
	  $(UV_COMPILE) -c $$tmp/dev.txt -o $$tmp/runtime.txt && \
	  for f in dev runtime; do diff -q locks/$$f.txt $$tmp/$$f.txt >/dev/null || \
	    { echo "locks/$$f.txt is not what pyproject.toml asks for; run: make lock"; exit 1; }; done

loadtest: $(STAMP)  ## QA's load on a stack of its own, and a verdict: PROFILE=acceptance decides; FAULT=valkey-killed
	@$(BIN)/python -m loadtests --profile $(or $(PROFILE),smoke) $(if $(FAULT),--fault $(FAULT)) --out $(or $(OUT),build/loadtests)

verdicts: $(STAMP)  ## QA's load on a good build, three times, and on five broken ones: is each verdict right? 20 minutes
	@$(BIN)/python -m tests.faults.run

rolling: $(STAMP)  ## every service of compose.yaml restarted in turn under the acceptance load; 5 minutes
	@$(BIN)/python -m tests.production.rolling

bench: $(STAMP)  ## what a query costs the service, against the least that its server can cost
	@$(BIN)/python -m benchmarks.hot_path

bench-gateway: $(STAMP)  ## requests/s and latency through the gateway at 100 users (README's figures)
	@$(BIN)/python -m benchmarks.gateway_load

bench-webhooks: $(STAMP)  ## from a commit to its webhook, beside hanging receivers too; sends/s of one worker
	@$(BIN)/python -m benchmarks.webhooks

bench-admin: $(STAMP)  ## 10,000 partners: rendering, publishing, revoking, searching
	@$(BIN)/python -m benchmarks.admin

bench-outages: $(STAMP)  ## 100 users while Valkey or PostgreSQL is away: failed queries, P95, seconds until normal
	@$(BIN)/python -m benchmarks.outages

clean:  ## end the local stack, remove its state and .venv
	@test ! -x $(BIN)/partnerapi || $(BIN)/partnerapi down
	@rm -rf .stack .venv
