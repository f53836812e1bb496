# Everything sets itself up: `make demo` and `make test` work on a fresh clone with Python, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
RUNS ?= runs
# One thread a process: tests and trainings run side by side.
export OMP_NUM_THREADS := 1

.PHONY: help install demo test test-long test-specs lint format bench dashboard clean
.DEFAULT_GOAL := help

help:
	@echo "make install    set up .venv with the tested versions"
	@echo "make demo       profile, search, measure and report, in some minutes: writes demo_report.html"
	@echo "make dashboard  browse the results in runs/ (a sample ships with the project)"
	@echo "make test       the tests (10 minutes at most on 2 cores)"
	@echo "make test-long  1,000 examples a property, and whether the embedded data can be learnt"
	@echo "make test-specs 10,000 random networks: closed form, execution and cost_many agree (half an hour)"
	@echo "make lint       formatting, lint rules, types, import arrows"
	@echo "make bench      our own benchmarks; writes benchmarks/results"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Branchwork needs Python 3.11 or newer; run make PYTHON=python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some hundred megabytes, a minute or two)"
	@$(PIP) install -c constraints.txt torch
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the development tools into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/branchwork demo --runs $(RUNS) --out demo_report.html

dashboard: $(VENV)/.installed
	@$(BIN)/branchwork dashboard --runs $(RUNS)

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-long: $(VENV)/.installed-dev
	@BRANCHWORK_EXAMPLES=1000 $(BIN)/python -m pytest -n 2 --dist worksteal tests/networks tests/golden tests/analysis
	@$(BIN)/python -m benchmarks learning

test-specs: $(VENV)/.installed-dev
	@PYTHONPATH=tests $(BIN)/python -m random_specs --count 10000

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
