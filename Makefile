# make demo   trains DTN on the embedded real data and prints its test table
# make test   lint and the test suite
# Both set up .venv first, with the versions of constraints.txt; a second call skips that.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
INSTALLED := $(VENV)/.installed-$(VERSION)
TESTABLE := $(VENV)/.testable-$(VERSION)
WORKERS ?= auto

.PHONY: demo test lint format clean

demo: $(INSTALLED)
	$(BIN)/python -m experiments.train --config=configs/adult.py:dtn --workdir=runs/demo

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(TESTABLE)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A virtual environment of another Python is replaced, not mixed with.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dtn_jax needs Python 3.11 or newer, this is %s; try make PYTHON=python3.13" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -e $(INSTALLED) || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(TESTABLE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs
