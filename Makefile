# `make demo` and `make test` are all that a fresh clone needs.
PYTHON ?= python3
# An environment for each interpreter: `make quick PYTHON=python3.13` has .venv-python3.13.
VENV := .venv$(patsubst %,-%,$(filter-out python3,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick check knobs coverage elsewhere generate mutation faults fuzz bench bench-quick lock container clean

demo: $(VENV)/ready  ## load two emulated taxpayers into kseflow-demo/ksef.duckdb
	$(BIN)/kseflow demo

test: check $(VENV)/duckdb-1.2 $(VENV)/ksef-client $(VENV)/ksef2  ## lint, types and every test
	$(BIN)/pytest $(PARALLEL)

quick: $(VENV)/ready  ## the tests that need no marts: some minutes
	$(BIN)/pytest $(PARALLEL) -m "not slow"

check: $(VENV)/ready  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

generate: $(VENV)/ready  ## write dbt's staging and the documents' tables from their declarations
	$(BIN)/python -m tools

knobs: $(VENV)/ready  ## the copy of a KSeF whose knobs are drawn; DRAWS=300 for many, FIRST=57 DRAWS=1 for one
	KNOB_FIRST=$(or $(FIRST),1) KNOB_DRAWS=$(or $(DRAWS),100) $(BIN)/pytest $(subst loadfile,load,$(PARALLEL)) -k whole_or tests/test_whatever_ksef_is.py

coverage: $(VENV)/ready $(VENV)/duckdb-1.2 $(VENV)/ksef-client $(VENV)/ksef2  ## the lines and branches that no test runs; TESTS=tests/sql for fewer
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

elsewhere: $(VENV)/ready $(VENV)/spark  ## the models in PostgreSQL and Spark, row by row; wants PostgreSQL's server and a Java
	$(BIN)/pytest tests/sql/test_elsewhere_*.py

mutation: $(VENV)/ready  ## change the SQL on purpose and see which changes its tests notice; takes an hour
	$(BIN)/python tests/mutation/mutate.py

HISTORIES := 2000
KILLS := 100
faults: $(VENV)/ready  ## histories of loads among faults, and processes killed; HISTORIES=100 KILLS=10 for an hour less
	$(BIN)/python -m tests.faults.histories $(HISTORIES)
	$(BIN)/python -m tests.faults.kills $(KILLS)
	$(BIN)/python -m tests.faults.many 500

SECONDS := 60
fuzz: $(VENV)/ready  ## give parsers and client answers that nobody meant; SECONDS=600 for longer
	$(BIN)/python -W ignore tests/fuzz/fuzz.py $(SECONDS)

bench: $(VENV)/ready  ## speed beside its baselines, in bench.json as well: ten minutes; PARTS="load growth" SIZE=--whole for longer
	$(BIN)/python -W ignore -m tests.bench $(PARTS) $(SIZE) --json bench.json

bench-quick: $(VENV)/ready  ## the ratios that must not slip, in a minute
	$(BIN)/python -W ignore -m tests.bench --quick --json bench.json

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/duckdb-1.2: tests/data/duckdb-1.2.lock $(VENV)/ready  # an old client, which opens what is published
	$(PIP) --no-deps --require-hashes --target $@ -r $<
	touch $@

$(VENV)/ksef-client: tests/data/ksef-client.lock $(VENV)/ready  # clients of KSeF that nobody here wrote
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

$(VENV)/spark: tests/data/spark.lock $(VENV)/ready  # half a gigabyte
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# ksef2 wants Python 3.12 or newer, beside whatever this project itself runs on.
NEWER := $(PYTHON) python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[23]*/bin/python)
$(VENV)/ksef2: tests/data/ksef2.lock $(VENV)/ready
	for python in $(NEWER); do \
	  "$$python" -c "import sys; sys.exit(sys.version_info < (3, 12))" 2> /dev/null && break; \
	done && "$$python" -m venv --clear $@ || { echo "ksef2 needs a Python 3.12 or newer"; exit 1; }
	$@/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

lock:  ## pin anew what pyproject.toml asks for (needs uv)
	uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra dev pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra notebooks -c requirements.lock pyproject.toml -o deploy/requirements.lock
	printf 'hatchling\neditables\n' | uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate -c requirements.lock - -o deploy/build.lock

container: $(VENV)/ready  ## run the image's steps in a clean root and load in it (needs root and debootstrap)
	$(BIN)/python -m tests.container

clean:
	rm -rf .venv .venv-* bench.json kseflow-demo .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
