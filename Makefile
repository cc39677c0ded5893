# `make help` lists the commands. The first of them makes `.venv`; nothing else on the machine is touched.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV_VERSION := 0.13.9
TEST_WORKERS ?= 3
CLUSTER_WORKERS ?= 2
BIN := .venv/bin
SCRIPTS := $(wildcard .ci/run deploy/images/build deploy/images/install-dependencies deploy/images/spark/entrypoint deploy/images/spark/archive-classes \
	deploy/images/dev/kafka-entrypoint deploy/images/dev/postgresql-entrypoint deploy/local/steps.sh \
	deploy/local/kind deploy/local/minikube deploy/local/one-node deploy/local/test-cluster)
export UV_PYTHON_DOWNLOADS := never
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes: each would compile all of the sources again

MINUTES ?= 10
.PHONY: help demo test test-all test-cluster chaos soak security check format contracts sbom audit tpch clean
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready ## Run the main job on real flights, with real parts, on this machine
	@$(BIN)/stratum demo

test: .venv/ready ## Run the tests, but for those that take long, with real PostgreSQL, Kafka, S3 and Spark
	$(BIN)/pytest -m "not slow and not cluster" -n $(TEST_WORKERS)

test-all: .venv/ready ## Those too that take long since they do the same more often, or with everything broken in turn
	$(BIN)/pytest -m "not cluster" -n $(TEST_WORKERS)

test-cluster: .venv/ready ## Install the chart on a real, disposable Kubernetes, run the main job there, break parts of it
	@deploy/local/test-cluster $(if $(QUICK),-m "cluster and not slow") -n $(CLUSTER_WORKERS)

chaos: .venv/ready ## Break every connection and kill every part, with and without each guard; one oracle for all
	$(BIN)/pytest tests/chaos

soak: .venv/ready ## Steady load and kills of each part in turn for MINUTES (default 10): nothing is lost, nothing grows
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

security: .venv/ready ## Much hostile input, made up anew each time: requests, tokens, messages, proposals, other tenants, all limits
	STRATUM_TEST_HOSTILE=$${STRATUM_TEST_HOSTILE:-20} $(BIN)/pytest -m security --timeout 3600

check: .venv/ready ## Format, lint, types, import rules, generated files, lock files, shell scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts check
	$(BIN)/python helm/values_reference.py check
	$(BIN)/python -m deploy.templates check
	$(BIN)/python -m stratum.local.jars check
	$(BIN)/uv lock --check
	$(BIN)/shellcheck -x $(SCRIPTS)

sbom: .venv/ready ## Write sbom.cdx.json: every package and jar of the lock files, as CycloneDX
	$(BIN)/python -m deploy.supply.sbom sbom.cdx.json

audit: .venv/ready ## Ask which vulnerabilities of the locked packages are known; fails where it cannot ask
	$(BIN)/python -m deploy.supply.audit

tpch: .venv/ready ## All 22 TPC-H queries against DuckDB's answers
	$(BIN)/pytest tests/tpch

format: .venv/ready ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

contracts: .venv/ready ## Generate schemas, references and templates from the models
	$(BIN)/python -m contracts generate
	$(BIN)/python helm/values_reference.py write
	$(BIN)/python -m deploy.templates generate

clean: ## Remove the virtual environment and caches; data of `stratum up` stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Stratum needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/uv -a -x $(BIN)/python || { $(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); } || \
		{ echo "The virtual environment could not be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/uv sync --frozen --compile-bytecode --python $(BIN)/python
	@touch $@
