# From Databento files to backtest results: `make ingest features backtest`.
# Without any .dbn file in data/raw the built-in simulated market is used, in data/sample.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3
STRATEGY ?= mean_reversion
ARGS ?=
JOBS ?= auto

# The sample market lives apart, so that it never mixes with real research.
OWN_DATA := $(shell find -L data/raw -type f \( -name '*.dbn' -o -name '*.dbn.zst' \) 2>/dev/null | head -n 1)
ifeq ($(OWN_DATA),)
export MBO_RAW__PATH ?= data/sample/raw
export MBO_LAKE__PATH ?= data/sample/lake
RAW_READY := data/sample/raw/.complete
endif

# The newest run is reported; one is made where there is none, or where it is asked for as well.
ifneq ($(or $(filter backtest,$(MAKECMDGOALS)),$(if $(wildcard $(or $(MBO_LAKE__PATH),data/lake)/runs/*),,none)),)
FIRST_RUN := backtest
endif

.PHONY: help setup sample ingest book features backtest report screenshots sql verify bench test \
        test-slow lint format lock clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Settings: research.toml, or ARGS='--symbols MES* --start 2025-05-01'; STRATEGY=trend_following"

setup: $(READY)  ## Make .venv with the mbo command

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "Python 3.11 or newer is needed; this is %d.%d. Use make PYTHON=/path/to/python3.11" % v)'
	@if command -v uv >/dev/null 2>&1; then \
	  echo "Installing into $(VENV) with uv" && \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  echo "Installing into $(VENV) with pip" && \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

sample: data/sample/raw/.complete  ## Write the simulated sample market

data/sample/raw/.complete: | $(READY)
	@$(BIN)/mbo sample
	@touch $@

ingest: $(READY) $(RAW_READY)  ## DBN files to Parquet
	@$(BIN)/mbo ingest $(ARGS)

book: ingest  ## Books, flow, trades and quality
	@$(BIN)/mbo book $(ARGS)

features: ingest  ## Features and labels by trading session
	@$(BIN)/mbo features $(ARGS)

backtest: features  ## Run STRATEGY (mean_reversion) and print its result
	@$(BIN)/mbo backtest $(STRATEGY) $(ARGS)

report: $(READY) $(FIRST_RUN)  ## An HTML page about the newest run: data/reports
	@$(BIN)/mbo report $(ARGS)

screenshots: $(READY) $(FIRST_RUN)  ## What a browser shows of the newest run's page: data/reports/screenshots
	@$(BIN)/mbo report --out data/reports/screenshots/page.html $(ARGS)
	@$(BIN)/python -m tests.report.browser data/reports/screenshots/page.html data/reports/screenshots

sql: $(READY)  ## A DuckDB shell over the tables
	@$(BIN)/mbo sql $(ARGS)

verify: book  ## Rebuilt books against the vendor's own rows
	@$(BIN)/mbo verify $(ARGS)

bench: $(READY)  ## Measure speed and memory: the README's figures
	@$(BIN)/mbo bench $(ARGS)

test: $(READY)  ## Run the tests, a process a core (JOBS=0: in one)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(READY)  ## Run the slow tests, too
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "slow or not slow" $(ARGS)

lint: $(READY)  ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(READY)  ## Write requirements.lock anew from what pyproject.toml allows
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77' '.[dev,models,notebook,onnx]'
	@build/lock/bin/python -m pip freeze --all --exclude mbo-research --exclude pip | sed 's/ @ .*//' > requirements.lock
	@rm -rf build/lock

clean:  ## Remove the environment, caches and the sample market; never data/raw or data/lake
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache data/sample
