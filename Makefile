# Ringlog. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
CALLS ?= 20
MINUTES ?= 5
SEED ?= 1
PIP = $(BIN)/python -m pip install --disable-pip-version-check --no-deps
SIZES = awk '/Downloading|Using cached/ && /\(/ { sub(/^ +/, "  "); print; fflush() }'
CHECKED := schemas ringlog cli ingest asr_worker streams sql stack verify demo bench tests docs
STAMP = $(VENV)/.installed-$(firstword $(shell cat requirements-build.lock requirements.lock pyproject.toml | sha256sum))

.PHONY: help check-tools install demo demo-asterisk up down status test test-all test-peers suite style lint unit integration bench faults clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: check-tools $(STAMP) ## Install everything: Python packages into .venv, JVM parts into the cache
	@$(BIN)/python -m stack install

check-tools:
	@missing=0; \
	need() { echo "missing: $$1"; echo "   mend: $$2"; missing=1; }; \
	command -v git >/dev/null || need "git" "apt-get install git (or your system's package)"; \
	[ "$$(uname -m)" = x86_64 ] || need "an x86-64 processor" "there are no packages for $$(uname -m)"; \
	[ "$$(uname -s)" = Linux ] || need "Linux" "use a Linux machine, a virtual machine or WSL 2"; \
	if [ ! -x $(BIN)/python ]; then \
		if ! command -v $(PYTHON) >/dev/null; then \
			need "$(PYTHON)" "apt-get install python3.11, or make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; \
		elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
			need "Python 3.11 ($(PYTHON) is another version)" "make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; \
		elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
			need "Python's venv module" "apt-get install python3.11-venv"; \
		fi; \
	fi; \
	exit $$missing

$(STAMP): | check-tools
	@[ -x $(BIN)/python ] || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing Python packages (once; 2.2 GB when unpacked; goes on where it was broken off)"
	@$(PIP) --require-hashes -r requirements-build.lock | $(SIZES)
	@$(PIP) --require-hashes --no-build-isolation -r requirements.lock | $(SIZES)
	@$(PIP) --quiet --no-build-isolation -e . 2>/dev/null || $(PIP) --no-build-isolation -e .
	@rm -f $(VENV)/.installed-*; touch $@

demo: install ## Make CALLS=20 simulated calls through the whole product and check every result
	@$(BIN)/ringlog demo --calls $(CALLS)

demo-asterisk: install ## The demo through a real Asterisk (Debian, root): two carriers, one dies
	@$(BIN)/python -m demo.asterisk --calls $(CALLS)

up: install ## Start the stack and return when it is ready
	@$(BIN)/ringlog up -d

down: ## Stop the stack
	@$(BIN)/ringlog down

status: ## Show the services of the running stack
	@$(BIN)/ringlog status

test: suite ## Lint, unit tests and integration tests, two jobs at a time, with coverage

test-all: EVERYTHING = --all
test-all: suite ## Everything: also the heavy tests and the faults under load

test-peers: install ## Tests against a real Asterisk, sipp, Chromium, PostgreSQL, RabbitMQ (Debian, root): sets them up first
	@$(BIN)/python -m tests.peers

suite: install style
	@$(BIN)/coverage erase
	@$(BIN)/python -m tests.suite $(EVERYTHING)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered

style: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

lint: style ## Style and types: ruff, mypy --strict
	@$(BIN)/mypy --strict $(CHECKED)

unit: install ## Unit tests only (seconds, no services)
	@$(BIN)/pytest tests/unit -q

bench: install ## Benchmarks against peers and limits
	@$(BIN)/python -m bench

faults: install ## A campaign under faults, then proof: MINUTES=5 SEED=1, or KILLS=20 of every service
	@$(BIN)/python -m tests.faults --seed $(SEED) $(if $(KILLS),--kills $(KILLS),--minutes $(MINUTES))

clean: ## Remove what runs and tests have made (the JVM cache stays)
	@rm -rf .ringlog .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
