# make demo: set up, and do the main job once.   make check: format, lint, types, imports.   make test: every test.
# make gpu-check: the tests that need a GPU; it names those that it could not run.
PYTHON ?= python3
# What is installed already stays what it is: cpu or gpu.
EXTRA ?= $(or $(patsubst .venv/.installed-%,%,$(firstword $(wildcard .venv/.installed-*))),cpu)
BIN := .venv/bin

.PHONY: setup bubblewrap chromium postgres demo test gpu-check soak check format docs lock bench-sandbox bench-train bench-lora bench-evolution bench-clients bench-continual bench-gateway bench-making bench-evaluating bench-mining bench-cluster

setup: bubblewrap .venv/.installed-$(EXTRA)

bubblewrap:
	@command -v bwrap >/dev/null 2>&1 || sh scripts/bubblewrap.sh

.venv/.installed-$(EXTRA): pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" EXTRA="$(EXTRA)" sh scripts/setup.sh

demo: setup
	@$(BIN)/python -m evolver.demo.run

chromium:
	@sh scripts/chromium.sh

postgres:
	@sh scripts/postgres.sh

test: setup chromium postgres
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder tests

gpu-check: setup
	@$(BIN)/python -m pytest -rs tests/gpu

soak: setup
	@$(BIN)/python -m pytest -s soak

check: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

docs: setup
	@$(BIN)/python -m scripts.configuration

lock: setup
	@$(BIN)/python scripts/lock.py

bench-sandbox: setup
	@$(BIN)/python -m benchmarks.sandbox

bench-train: setup
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks.train

bench-lora: setup
	@$(BIN)/python -m benchmarks.cpu_lora

bench-evolution: setup
	@$(BIN)/python -c 'import bfcl_eval' 2>/dev/null || $(BIN)/python -m pip install --quiet --no-deps bfcl-eval==2026.3.23
	@$(BIN)/python -m benchmarks.evolution $(ARGS)

bench-continual: setup
	@$(BIN)/python -m benchmarks.continual $(ARGS)

bench-clients: setup
	@$(BIN)/python -m benchmarks.clients $(ARGS)

bench-mining: setup
	@$(BIN)/python -m benchmarks.mining $(ARGS)

bench-making: setup
	@$(BIN)/python -m benchmarks.making

bench-evaluating: setup
	@$(BIN)/python -m benchmarks.evaluating $(ARGS)

bench-gateway: setup
	@$(BIN)/python -m benchmarks.gateway

bench-cluster: setup
	@$(BIN)/python -m benchmarks.cluster $(ARGS)
