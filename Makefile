# make demo: set up, and do the main job once.   make test: set up, and pass the tests.   make check: the house rules.
PYTHON ?= python3
EXTRA ?= cpu
BIN := .venv/bin

.PHONY: setup demo test check format lock bench-sandbox bench-train bench-lora

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" EXTRA="$(EXTRA)" sh scripts/setup.sh

demo: setup
	@$(BIN)/python -m evolver.demo

test: setup
	@$(BIN)/python -m pytest tests

check: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/unit tests/test_architecture.py

format: setup
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

lock: setup
	@$(BIN)/python scripts/lock.py

bench-sandbox: setup
	@$(BIN)/python benchmarks/sandbox.py

bench-train: setup
	@$(BIN)/python benchmarks/train.py

bench-lora: setup
	@$(BIN)/python benchmarks/cpu_lora.py
