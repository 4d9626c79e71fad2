# make demo       trains DTN on the embedded real data and prints its test table; OPTIONS adds to its
#                 command: make demo OPTIONS=--config.seed=1
# make test       lint and the tests that a developer needs, in minutes
# make test-slow  the tests marked `slow` (processes, killed workers, suites, the pages' commands);
#                 MINUTES=60 skips those that would begin more than an hour after the first
# make test-all   make test, then make test-slow
# make nightly    what a push does not run, in parts of at most two hours: full grids, simulations, every shape
#                 checked, the newest Python and JAX, compilers, faults. Those that passed on this
#                 commit are left out; PARTS="grids newest" names some
# make test-faults  kills, full disks and damaged files, drawn at random, in half an hour; FAULTS=50
#                 injects ten times as many
# make docs       the site of docs/ into site/, where site/index.html is its first page; make docs-serve
#                 shows it at http://127.0.0.1:8000 and follows changes
# make compiled   the compilers of TPUs and GPUs, about 3 GB, into .venv-compiled: for
#                 tests/nightly/test_compiled.py, which is skipped without. COMPILED_VENV=FOLDER, given
#                 to make or set in the environment, names another virtual environment.
# make newest     the newest versions of everything, on NEWEST_PYTHON, into .venv-newest, for make nightly
# make onnx       jax2onnx and ONNX Runtime into .venv-onnx: for `dtn-jax export --onnx` and its
#                 test, which is skipped without. ONNX_VENV=FOLDER names another virtual environment.
# make spark      PySpark, half a GB, and what tests need into .venv-spark: for `prepare --engine=spark`
#                 and its tests, which are skipped without. Java 17 must be there.
# make peers      other frameworks, for CPUs 3 GB, into .venv-peers: for the suite peers of the benchmark, and
#                 for tests/nightly/test_torchjd.py and test_peers.py, which are skipped without. PEERS_VENV=FOLDER
#                 names another.
# make release-check  builds what a release ships, from the commit alone, installs the wheel in a new
#                 environment, and trains, exports and scores with it: minutes, and an index of packages
# The others set up .venv first, with the versions of constraints.txt; a second call skips that.
# `.venv/bin/python -m pytest tests/FILE` runs the quick and the slow tests of a file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
INSTALLED := $(VENV)/.installed-$(VERSION)
TESTABLE := $(VENV)/.testable-$(VERSION)
TESTABLE_SLOW := $(VENV)/.testable-slow-$(VERSION)
DOCUMENTED := $(VENV)/.documented-$(VERSION)
WORKERS ?= auto
export COMPILED_VENV ?= .venv-compiled
COMPILERS := $(COMPILED_VENV)/.installed-$(VERSION)
export ONNX_VENV ?= .venv-onnx
ONNX := $(ONNX_VENV)/.installed-$(VERSION)
SPARK_VENV ?= .venv-spark
export PEERS_VENV ?= .venv-peers
SPARK := $(SPARK_VENV)/.installed-$(VERSION)

.PHONY: demo test test-slow test-all nightly test-faults docs docs-serve compiled newest onnx spark peers lint format release-check clean

demo: $(INSTALLED)
	$(BIN)/dtn-jax train --config=configs/adult.py:dtn --workdir=runs/demo $(OPTIONS)

# What processes import is compiled once, not in every process of a test.
unexport PYTHONDONTWRITEBYTECODE

# A worker has the next tests in the files' order, so that they share fixtures; one that is done
# takes half of what another one has left.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

test: lint
	$(PYTEST) -m "not slow and not nightly"

test-slow: $(TESTABLE_SLOW)
	$(PYTEST) -m "slow and not nightly" $(if $(MINUTES),--minutes=$(MINUTES))

test-all: test
	$(MAKE) test-slow

nightly: $(TESTABLE_SLOW)
	$(BIN)/python tests/nightly/run.py $(PARTS)

test-faults: $(TESTABLE)
	$(BIN)/python -m pytest -m nightly tests/nightly/test_faults.py

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(TESTABLE)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A virtual environment of another Python is replaced, not mixed with.
# Without --no-compile pip compiles every module, for as long as it installs; most are never imported.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dtn_jax needs Python 3.11 or newer, this is %s; try make PYTHON=python3.13" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -e $(INSTALLED) || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[serve]'
	touch $@

$(TESTABLE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test]'
	touch $@

$(TESTABLE_SLOW): $(TESTABLE)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test-slow]'
	touch $@

$(DOCUMENTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[docs]'
	touch $@

# The theme would print what it thinks of a coming version of mkdocs.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: $(DOCUMENTED)
	$(MKDOCS) build --quiet
	@echo "The site is in site/. Open site/index.html"

docs-serve: $(DOCUMENTED)
	$(MKDOCS) serve

compiled: $(COMPILERS)

$(COMPILERS): pyproject.toml constraints.txt
	test -e $(COMPILED_VENV)/bin/python || $(PYTHON) -m venv $(COMPILED_VENV)
	$(COMPILED_VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[compiled]'
	touch $@

# Without constraints.txt.
NEWEST_PYTHON ?= $(firstword $(foreach version,3.14 3.13 3.12,$(shell command -v python$(version))) python3)

newest:
	$(NEWEST_PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --no-compile --editable '.[test]'

# jax2onnx asks for an orbax-checkpoint older than ours, and works without: ours, installed last, wins.
onnx: $(ONNX)

$(ONNX): pyproject.toml constraints.txt
	test -e $(ONNX_VENV)/bin/python || $(PYTHON) -m venv $(ONNX_VENV)
	$(ONNX_VENV)/bin/python -m pip install --quiet 'jax2onnx>=0.17' 'onnxruntime>=1.20'
	$(ONNX_VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

spark: $(SPARK)

$(SPARK): pyproject.toml constraints.txt
	test -e $(SPARK_VENV)/bin/python || $(PYTHON) -m venv $(SPARK_VENV)
	$(SPARK_VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[test,spark]'
	touch $@

peers: $(INSTALLED)
	test -e $(PEERS_VENV)/bin/python || $(PYTHON) -m venv $(PEERS_VENV)
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['peers'], sep='\n')" \
	  | xargs -n 1 $(PEERS_VENV)/bin/python -m pip install --quiet

release-check:
	PYTHON=$(PYTHON) .ci/release_check

clean:
	rm -rf $(VENV) runs site
