# What to type. Each set of libraries comes from a hash-locked file; uv installs it if it is there, else pip.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(or $(firstword $(shell command -v python3.11 python3.12 python3.13 python3)),python3)
UV := $(or $(shell command -v uv),$(wildcard $(BIN)/uv))
READERS := .venv-duckdb-1.2.2 .venv-duckdb-1.5.6
CLICKHOUSE := .venv-clickhouse
LOCK = $(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --quiet \
	--custom-compile-command "make lock" $(UPGRADE)

# $(call venv,FOLDER) makes an environment, $(call install,FOLDER,LOCKFILES) brings it to exactly what is locked.
ifdef UV
venv = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(1)
install = $(UV) pip sync --quiet --require-hashes --python $(1)/bin/python $(2)
install_self = $(UV) pip install --quiet --no-deps --no-build-isolation --python $(1)/bin/python --editable .
else
venv = $(PYTHON) -m venv $(1)
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes $(addprefix --requirement ,$(2))
install_self = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif

.PHONY: help setup setup-dev setup-airflow readers clickhouse tracker kafka demo up test check format lint types sql-lint bench faults lock clean

help: ## say what can be typed
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.light ## .venv with what footfall runs on

setup-airflow: $(VENV)/.airflow ## the same .venv with Airflow

setup-dev: $(VENV)/.dev ## the same .venv with Airflow and test tools

demo: setup ## a small shop's traffic, all the way to a report in ./footfall-demo
	@$(BIN)/footfall demo --home footfall-demo

up: setup-airflow $(if $(shell command -v mvn),kafka) ## Kafka, collector, forwarder and Airflow here; Ctrl-C ends all (ARGS="--port 8080")
	@$(BIN)/python -m stack.up $(ARGS)

test: setup-dev readers clickhouse $(if $(shell command -v mvn),kafka) ## set up all that the tests need and run them
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

check: format lint types sql-lint ## what must hold before a commit

format: setup-dev
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ."; exit 1; }

lint: setup-dev
	@$(BIN)/ruff check --quiet .

types: setup-dev
	@$(BIN)/mypy --no-error-summary

sql-lint: setup-dev
	@$(BIN)/sqlfluff lint --disable-progress-bar sql > $(VENV)/sqlfluff.txt \
		|| { cat $(VENV)/sqlfluff.txt; exit 1; }

bench: setup-dev clickhouse ## measure, by hand: prints tables with their conditions
	@for each in bench/*.py; do \
		echo "== $$each"; grep -q chdb "$$each" && bin=$(CLICKHOUSE)/bin || bin=$(BIN); $$bin/python "$$each" || exit 1; \
	done

faults: setup-dev kafka ## play every fault with many seeds and write the table in docs/faults.md (hours; ARGS="--share 0.1")
	@$(BIN)/python -m faults $(ARGS)

tracker: ## build the browser script anew; needed only by who changes it (Node.js 18 or later)
	@cd ingest/tracker && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent check \
		&& npm run --silent build

kafka: .kafka/.stamp ## the jars of a Kafka broker (Maven, Java 17 or later)

readers: $(READERS:=/.stamp) ## older DuckDBs that must read what is published

clickhouse: $(CLICKHOUSE)/.stamp ## ClickHouse, whose answers the models' must equal; development only

lock: setup-dev ## resolve the locked files anew (UPGRADE=--upgrade for newer ones)
	$(LOCK) --extra build pyproject.toml -o requirements.lock
	$(LOCK) --extra build --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --extra build --extra airflow --constraint requirements-dev.lock pyproject.toml -o requirements-airflow.lock
	$(LOCK) --extra clickhouse --constraint requirements-dev.lock pyproject.toml -o requirements-clickhouse.lock
	for version in 1.2.2 1.5.6; do \
		echo "duckdb==$$version" | $(LOCK) - -o requirements-duckdb-$$version.lock; \
	done

clean: ## remove what was made here, but no data
	rm -rf $(VENV) $(READERS) $(CLICKHOUSE) .kafka ingest/tracker/node_modules dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# A stamp is newer than its lock file, so nothing is installed twice; the larger set counts as the smaller one.
ALL := requirements-dev.lock requirements-airflow.lock
AIRFLOW := $(if $(wildcard $(VENV)/.dev),$(ALL),requirements-airflow.lock)
LIGHT := $(if $(wildcard $(VENV)/.dev $(VENV)/.airflow),$(AIRFLOW),requirements.lock)

define ready
@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "footfall needs Python 3.11 or later with venv; make PYTHON=... names another"; exit 1; }
@echo "Installing $(1) into $(VENV)"
@[ -x $(BIN)/python ] || $(call venv,$(VENV))
@$(call install,$(VENV),$(1))
@$(call install_self,$(VENV))
@touch $@
endef

$(VENV)/.light: $(LIGHT) pyproject.toml
	$(call ready,$(LIGHT))

$(VENV)/.airflow: $(AIRFLOW) pyproject.toml
	$(call ready,$(AIRFLOW))

$(VENV)/.dev: $(ALL) pyproject.toml
	$(call ready,$(ALL))

.venv-duckdb-%/.stamp: requirements-duckdb-%.lock
	@echo "Installing DuckDB $* into .venv-duckdb-$*"
	@[ -x .venv-duckdb-$*/bin/python ] || $(call venv,.venv-duckdb-$*)
	@$(call install,.venv-duckdb-$*,requirements-duckdb-$*.lock)
	@touch $@

$(CLICKHOUSE)/.stamp: requirements-clickhouse.lock
	@echo "Installing ClickHouse into $(CLICKHOUSE)"
	@[ -x $(CLICKHOUSE)/bin/python ] || $(call venv,$(CLICKHOUSE))
	@$(call install,$(CLICKHOUSE),requirements-clickhouse.lock)
	@touch $@

.kafka/.stamp: stack/pom.xml
	@command -v mvn > /dev/null || { echo "A Kafka broker needs Java and Maven: apt-get install maven"; exit 1; }
	@echo "Bringing Kafka's jars into .kafka"
	@rm -rf .kafka
	@mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DoutputDirectory="$(CURDIR)/.kafka"
	@touch $@
