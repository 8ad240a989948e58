# `make demo` and `make test` work in a fresh clone; everything is installed into .venv here.
PYTHON ?= python3
BIN := .venv/bin
PRESET ?= tiny
TESTS_AT_ONCE ?= 2

# With CORPUSLINE_HOME elsewhere, Dagster's own files go there too (see `corpusline home --help`).
ifdef CORPUSLINE_HOME
export CORPUSLINE_HOME
DAGSTER_ENVIRONMENT = DAGSTER_HOME="$$($(BIN)/corpusline home)"
endif

.PHONY: help demo test test-slow lint format dagster mlflow install clean lock

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

demo: .venv/.installed  ## Raw text to a registered language model, a few minutes on a laptop
	$(DAGSTER_ENVIRONMENT) $(BIN)/dagster job execute -m pipelines.definitions -j raw_to_model -c pipelines/configs/$(PRESET).yaml
	@$(BIN)/corpusline summary

test: .venv/.installed-dev  ## The everyday test suite
	$(BIN)/python -m pytest -m "not slow" -n $(TESTS_AT_ONCE) --dist worksteal

test-slow: .venv/.installed-dev  ## The slow tests: hundreds of megabytes of text, every ZeRO stage, killed processes
	$(BIN)/python -m pytest -m slow

lint: .venv/.installed-dev  ## Style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dagster: .venv/.installed  ## Open Dagster's page on http://127.0.0.1:3000
	$(DAGSTER_ENVIRONMENT) $(BIN)/dagster dev

mlflow: .venv/.installed  ## Open MLflow's page on http://127.0.0.1:5000
	$(BIN)/corpusline mlflow

install: .venv/.installed  ## Install without running anything

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:  ## Remove the virtual environment; outputs in corpusline-home stay
	rm -rf .venv build *.egg-info

lock:  ## Write constraints.txt from what a clean environment gets from the ranges in pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --upgrade pip setuptools
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet --editable '.[dev]'
	{ echo "# What the demo, the tests and CI were run with; 'make lock' writes it anew."; \
	  .venv-lock/bin/pip freeze --all --exclude-editable | sed 's/^torch==.*/torch==2.13.0/' | grep -v '^nvidia-\|^triton==' | LC_ALL=C sort -f; } > constraints.txt
	rm -rf .venv-lock
