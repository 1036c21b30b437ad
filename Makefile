# make demo   set up, then train, evaluate and report on embedded data
# make test   set up, then run every test
# make test-matrix  set up, then run every test under Pythons 3.11 to 3.13, with the newest and the lowest versions
# make check  set up, then lint, formatting and types
# make docs   set up, then build the documentation into site/
# make dist   set up, then build the wheel and the sources into dist/
# make lock   resolve pyproject.toml anew into requirements.lock

PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
SETUP := .venv/.ready
# Hundreds of short processes start in the tests: without bytecode on the disk each would compile torch anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test test-matrix check format docs dist lock clean

setup: $(SETUP)

# The stamp holds the set-up back until the lock or the package's metadata changes.
$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mscon needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(SETUP)
	$(BIN)/mscon demo

# Two processes of one thread each: processes of two threads each wait for one another.
test: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

test-matrix: $(SETUP)
	.ci/matrix

check: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(SETUP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is kept from a build before would hide the warnings of pages that have not changed.
docs: $(SETUP)
	$(BIN)/zensical build --strict --clean

dist: $(SETUP)
	$(BIN)/python -m hatchling build --clean

lock: $(SETUP)
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --no-annotate --all-extras --group dev --python-version 3.11 --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv site dist .cache
