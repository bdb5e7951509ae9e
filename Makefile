# Each target makes .venv if it is missing and installs what it needs from constraints.txt.
# JOBS processes share the tests; those of test-all go one by one, some of them measure time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
JETS ?=
BENCH ?=
FOLDER ?=
JOBS ?= auto

.PHONY: demo test test-all lint docs bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: other versions than the pinned one may pull gigabytes more. On Linux, pip
# takes the CUDA build unless its configuration offers a CPU one (pytorch.org says how).
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e ".[plot]"
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) -e ".[docs]"
	@touch $@

demo: $(VENV)/.core
	$(BIN)/python examples/plot_jet_compression.py $(JETS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -m "" --cov --cov-report=term-missing:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	rm -rf docs/generated
	# an example that fits poorly is an error
	PYTHONWARNINGS="error:Poor fit" $(BIN)/python -m sphinx -W -b html docs docs/_build/html

bench: $(VENV)/.test
	$(BIN)/python benchmarks/record.py $(if $(FOLDER),--folder $(FOLDER)) $(BENCH)

clean:
	rm -rf $(VENV) build dist docs/_build docs/auto_examples docs/generated demo
