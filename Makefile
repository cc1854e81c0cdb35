# make demo: set up, and do the main job once.   make test: set up, and pass the tests.   make check: the house rules.
PYTHON ?= python3
# What is installed already stays what it is: cpu or gpu.
EXTRA ?= $(or $(patsubst .venv/.installed-%,%,$(firstword $(wildcard .venv/.installed-*))),cpu)
BIN := .venv/bin

.PHONY: setup bubblewrap demo test soak check format lock tree bench-sandbox bench-train bench-lora bench-evolution bench-gateway

setup: bubblewrap .venv/.installed-$(EXTRA)

bubblewrap:
	@command -v bwrap >/dev/null 2>&1 || sh scripts/bubblewrap.sh

.venv/.installed-$(EXTRA): pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" EXTRA="$(EXTRA)" sh scripts/setup.sh

demo: setup
	@$(BIN)/python -m evolver.demo

test: setup
	@$(BIN)/python -m pytest tests

soak: setup
	@$(BIN)/python -m pytest -s soak

check: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/unit tests/test_architecture.py

format: setup
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

tree: setup
	@$(BIN)/python scripts/tree.py

lock: setup
	@$(BIN)/python scripts/lock.py

bench-sandbox: setup
	@$(BIN)/python benchmarks/sandbox.py

bench-train: setup
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/python benchmarks/train.py

bench-lora: setup
	@$(BIN)/python benchmarks/cpu_lora.py

bench-evolution: setup
	@$(BIN)/python -c 'import bfcl_eval' 2>/dev/null || $(BIN)/python -m pip install --quiet --no-deps bfcl-eval==2026.3.23
	@$(BIN)/python benchmarks/evolution.py $(ARGS)

bench-gateway: setup
	@$(BIN)/python benchmarks/gateway.py
