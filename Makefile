# Everything a person or a pipeline runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PY := .venv/bin/python
export PYTHON

# make demo: traces a second, and for how long (0: until Ctrl-C)
RATE ?= 5
DURATION ?= 30
# make test: processes for its tests, more than cores because tests wait, too. Whole files go to each, whose tests share what they start, in the order
# of tests/conftest.py. Tests of the whole suite start a dozen processes each.
TEST_PROCESSES ?= 4
SYSTEM_PROCESSES ?= 3
BY_FILE := --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## "; on = ""; off = "" } \
	  { if (ENVIRON["TERM"] != "" && ENVIRON["TERM"] != "dumb" && "'"$$(test -t 1 && echo y || true)"'" == "y") { on = "\033[36m"; off = "\033[0m" } } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %s%-14s%s %s\n", on, $$1, off, $$2 }' $(MAKEFILE_LIST)

##@ Run
.PHONY: up demo
up: local ## Install what is missing and run the whole suite; Ctrl-C drains and stops
	@exec $(PY) -m services serve

demo: local ## Send a shop's and an LLM agent's traces, logs and metrics (RATE=5 a second, DURATION=30 seconds, 0: on and on)
	@exec $(PY) -m examples.demo --rate $(RATE) --duration $(DURATION)

##@ Check
.PHONY: test check format unit
test: check ## Everything: lint, types, import contracts, generated files, all tests
	$(PY) -m pytest --ignore tests/system -n $(TEST_PROCESSES) $(BY_FILE)
	$(PY) -m pytest -m "not alone" -n $(SYSTEM_PROCESSES) $(BY_FILE) tests/system
	$(PY) -m pytest -m alone tests/system

check: dev ## Lint, format, types, import contracts, generated files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	scripts/proto --check
	$(PY) -m docs.generate_configuration --check
	$(PY) -m docs.generate_llm --check
	$(PY) -m release.audit

unit: dev ## The fast tests alone
	$(PY) -m pytest -m "not system" tests/unit tests/property tests/golden

format: dev ## Format, and fix what ruff can fix
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: compose-test
compose-test: dev ## Bring the offline compose up on a Docker engine, send spans with a real SDK, read them back
	deploy/compose-test

.PHONY: helm-test
helm-test: dev ## Lint the chart, render many sets of values, validate the manifests against Kubernetes' schemas
	$(PY) -m pytest -q tests/unit/test_chart.py tests/unit/test_alerts_and_dashboards.py

SECONDS ?= 900
SEED ?= 1
.PHONY: soak
soak: dev ## Faults of every kind against the suite, and a ledger of what was acknowledged (SECONDS=900, SEED=1)
	$(PY) -m bench.soak --seconds $(SECONDS) --seed $(SEED)

.PHONY: model
model: dev ## Histories of the cold tier, one seed after another, and a ledger of what must be readable (SECONDS=900, SEED=1)
	TAEL_TEST_MODEL_SECONDS=$(SECONDS) TAEL_TEST_MODEL_SEED=$(SEED) $(PY) -m pytest --capture=sys --timeout 0 -k for_long tests/contract/test_cold_model.py

##@ Measure
.PHONY: bench-ingest
bench-ingest: dev ## Items of a signal acknowledged and readable per second, through the whole suite
	$(PY) -m bench.ingest

.PHONY: bench-overload
bench-overload: dev ## Several times what ingest takes, for two minutes
	$(PY) -m bench.overload

.PHONY: bench-hostile
bench-hostile: dev ## What hostile and slow senders cost, and what the others notice, for two minutes
	$(PY) -m bench.hostile

.PHONY: bench-big-trace
bench-big-trace: dev ## What one read of a trace of 200,000 spans costs in each encoding
	$(PY) -m bench.big_trace

.PHONY: bench-promql
bench-promql: dev ## PromQL beside a Prometheus on this machine, the same samples and queries (apt-get install prometheus)
	$(PY) -m bench.promql

.PHONY: bench-search
bench-search: dev ## Reads of spans and log records through the query service, and what each costs the hot node
	$(PY) -m bench.search

.PHONY: bench-cold
bench-cold: dev ## What rolling costs, and questions over a year's manifest
	$(PY) -m bench.cold

.PHONY: bench-live
bench-live: dev ## From acknowledgement to a live stream's screen
	$(PY) -m bench.live

##@ Generate
.PHONY: proto docs lock
proto: dev ## Generate tael/pb from proto/
	scripts/proto

docs: dev ## Generate docs/configuration.md from the settings
	$(PY) -m docs.generate_configuration
	$(PY) -m docs.generate_llm

lock: ## Pin every dependency with its hashes
	scripts/lock

##@ Release
.PHONY: audit release images-pin
audit: dev ## Ask osv.dev for published vulnerabilities of what the image holds; needs a network
	$(PY) -m release.audit --advisories

release: dev ## Wheel, sdist, chart, SBOM, licences and (with an engine) the image into build/release
	$(PY) -m release.build

images-pin: dev ## Write the digest of every third-party image into Compose and the chart; needs a network
	$(PY) -m release.images

##@ Keep house
.PHONY: local dev clean
local: ## Make .venv hold what running takes
	@scripts/venv requirements-local.lock

dev: ## Make .venv hold what testing takes
	@scripts/venv requirements-dev.lock

clean: ## Remove .venv and every cache; data directories stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build ./*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
