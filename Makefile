# `make run` and `make test` are all a newcomer needs; `make check` is the gate before a commit.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SOURCES := services trainer clients deploy benchmarks tests
DATA ?=
# A file stays with one process: its fixtures are made once.
TWO_AT_ONCE := -n 2 --dist loadfile

.PHONY: run test test-fast check static format format-check lint types buf stubs stub-drift install triton clean help

# ---- for users -------------------------------------------------------------------------------

run: install triton ## Whole product on synthetic data, or on DATA=<CAMUS-shaped folder>
	$(BIN)/echoloop demo $(if $(DATA),--data "$(DATA)")

test: install triton ## Every test, real Triton and PostgreSQL included
	$(BIN)/pytest

test-fast: install ## Unit and contract tests only
	$(BIN)/pytest tests/unit tests/contract -m "not integration and not e2e" $(TWO_AT_ONCE)

install: .venv/installed ## The Python environment

triton: install ## The embedded Triton server
	$(BIN)/python -m deploy.triton.install

# ---- for developers --------------------------------------------------------------------------

check: static ## The gate before a commit: static checks and unit tests
	$(BIN)/pytest -q tests/unit -m "not integration and not e2e" $(TWO_AT_ONCE)

static: install format-check lint types buf stub-drift ## Format, lint, strict types, contracts

format:
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/buf format -w

format-check:
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/buf format -d --exit-code

lint:
	$(BIN)/ruff check $(SOURCES)

types:
	$(BIN)/mypy $(SOURCES)

buf:
	$(BIN)/buf lint

PROTOS := $(wildcard protos/echoloop/v1/*.proto)
# Generates into the folder given as $(1); import roots equal the folder, so nothing is patched.
define generate
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=$(1) --grpc_python_out=$(1) \
	  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	  --mypy_out=quiet:$(1) --mypy_grpc_out=quiet,only_async:$(1) $(PROTOS)
endef

stubs: install ## Regenerates the stubs beside the protos
	$(call generate,protos)

stub-drift: install ## Fails when the committed stubs are not what the protos generate
	@rm -rf build/stubs && mkdir -p build/stubs
	@$(call generate,build/stubs)
	@for f in build/stubs/echoloop/v1/*; do cmp "$$f" "protos/echoloop/v1/$$(basename $$f)" || { echo "stubs are stale: run make stubs"; exit 1; }; done

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 13)))' \
	  || { echo "EchoLoop needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=<path>."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

clean: ## Removes generated state, not the environment
	rm -rf build var/demo var/run .mypy_cache .ruff_cache .pytest_cache .hypothesis
