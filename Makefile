# What there is to run: `make` or `make help` lists it. Needs Python 3.11 or newer, pip and make, nothing else.
#
#   make demo ARGS="--seconds 60"     arguments for the program or for pytest
#   make test JOBS=0                  tests on one process instead of four
#   make chaos KILLS=10 SOAK=0        a shorter chaos; SEED=… repeats a run; BROKER=kafka, STORE=rocksdb
#   make setup PYTHON=python3.13      a Python of your choice

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
UV_VERSION := 0.13.9
JOBS ?= 4
ARGS ?=
KILLS ?= 100
CHANGES ?= 50
OUTAGE ?= 45
SOAK ?= 30
STORE ?= memory
BROKER ?= embedded
PYTEST := $(BIN)/python -m pytest $(if $(filter-out 0,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)
ON_ANY_BROKER := $(wildcard tests/integration tests/chaos)
KAFKA := .cache/kafka
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of programs. Each reads what the first one compiled, also where the environment would have
# every one compile anew.
unexport PYTHONDONTWRITEBYTECODE

# The stamp holds the directory it was made in: a checkout that moved is set up again, as a venv cannot move.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help setup demo screenshots test laws test-all chaos test-kafka test-containers kafka check format bench bench-check bench-churn lock clean
.NOTPARALLEL:

help: ## list what there is to run
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(STAMP) ## install everything into .venv/; quick when nothing changed

demo: $(STAMP) ## see it work: embedded servers, worker and simulated traffic on this machine
	@$(BIN)/stream-app demo $(ARGS)

screenshots: $(STAMP) ## take the pictures of docs/images/ anew, from the demo; needs Chromium
	$(BIN)/python -m tests.browser.screenshots

test: $(STAMP) ## run the tests but the slow ones, in about six minutes
	$(PYTEST) -m "not slow" $(ARGS)

laws: $(STAMP) ## look for what breaks a law, at random and ten times as long as `make test` does
	LAWS=deep $(PYTEST) --timeout 3600 tests/property $(ARGS)

test-all: $(STAMP) ## run every test
	$(PYTEST) $(ARGS)

chaos: $(STAMP) ## kill, suspend and cut everything for about an hour, and hold every number against the batch
	CHAOS_SEED=$(SEED) CHAOS_KILLS=$(KILLS) CHAOS_CHANGES=$(CHANGES) CHAOS_OUTAGE_SECONDS=$(OUTAGE) \
	CHAOS_SOAK_MINUTES=$(SOAK) TEST_STORE=$(STORE) $(BIN)/python -m pytest -rA --broker $(BROKER) tests/chaos $(ARGS)

test-kafka: $(STAMP) kafka ## run the integration and chaos tests on Apache Kafka; needs Maven and Java 17
	$(PYTEST) -m "not slow" --broker kafka $(ON_ANY_BROKER) $(ARGS)

test-containers: $(STAMP) ## run them on Apache Kafka in a container; needs Docker
	$(PYTEST) -m "not slow" --broker containers $(ON_ANY_BROKER) $(ARGS)

kafka: $(KAFKA)/.fetched ## fetch Apache Kafka for the tests into .cache/; needs Maven and Java 17

$(KAFKA)/.fetched: tests/support/kafka/pom.xml
	@command -v mvn >/dev/null || { echo "make kafka: Maven is needed; install it, and Java 17 or newer" >&2; exit 1; }
	rm -rf $(KAFKA)
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(KAFKA)
	touch $@

check: $(STAMP) ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure it side by side with its peers; ARGS="--help" says what can be chosen
	$(BIN)/python -m benchmarks $(ARGS)

bench-check: $(STAMP) ## tell whether an event has become dearer than recorded, by ratios
	$(BIN)/python -m benchmarks.check $(ARGS)

bench-churn: $(STAMP) ## tell how good the churn score is on real histories; ARGS="--events FILE" for your own
	$(BIN)/python -m benchmarks.churn $(ARGS)

lock: $(STAMP) ## write the lock files anew from pyproject.toml; UPGRADE=--upgrade takes newer versions
	$(BIN)/python -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(call compile,requirements.lock,--all-extras --group build)
	$(call compile,requirements-dev.lock,--all-extras --group dev --constraint requirements.lock)

compile = $(VENV)/uv/bin/uv pip compile pyproject.toml --output-file $(1) --quiet --universal --python-version 3.11 \
$(2) --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" $(UPGRADE)

clean: ## remove what make made, .venv/ included; a worker's files in var/ stay
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find stream_app tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(STAMP): requirements-dev.lock pyproject.toml
	@set -eu; \
	for python in $(PYTHONS); do \
		if "$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then break; fi; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make setup: Python 3.11 or newer is needed, and none of these is one: $(PYTHONS)." >&2; \
		echo "Install one, or name one: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	clear=; \
	if [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != "$(CURDIR)" ]; then clear=--clear; fi; \
	if [ -e $(VENV) ] && ! $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then clear=--clear; fi; \
	if [ -n "$$clear" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Setting up $(VENV)/ with $$("$$python" --version): about a minute, once."; \
		if "$$python" -c 'import ensurepip' 2>/dev/null; then \
			"$$python" -m venv $$clear $(VENV); \
		elif "$$python" -m pip --version >/dev/null 2>&1; then \
			"$$python" -m venv --without-pip $$clear $(VENV); \
			"$$python" -m pip --python $(BIN)/python install --quiet pip; \
		else \
			echo "make setup: $$python has no pip. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
			exit 1; \
		fi; \
	fi; \
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --require-hashes --requirement requirements-dev.lock; \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	$(BIN)/python -m pip check >/dev/null; \
	echo "$(CURDIR)" > $(STAMP)
