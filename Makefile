# `make demo` and `make test` are all that a fresh clone needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check generate mutation lock clean

demo: .venv/ready  ## load two emulated taxpayers into kseflow-demo/ksef.duckdb
	$(BIN)/kseflow demo

test: check .venv/duckdb-1.2  ## lint, types and every test
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

generate: .venv/ready  ## write dbt's staging and the documents' tables from their declarations
	$(BIN)/python -m tools

mutation: .venv/ready  ## change the SQL on purpose and see which changes its tests notice; takes an hour
	$(BIN)/python tests/mutation/mutate.py

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.venv/duckdb-1.2: tests/data/duckdb-1.2.lock .venv/ready  # an old client, which opens what is published
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ -r $<
	touch $@

lock:  ## pin anew what pyproject.toml asks for (needs uv)
	uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv kseflow-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
