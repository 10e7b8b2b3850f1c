# lungbench: one command, `make benchmark`, from films to a leaderboard.
SUITE ?= smoke
DATA_ROOT ?=
RUNS ?= runs
LAUNCHER ?= auto
PERF ?=
ARGS ?=
PYTHON ?= python3

PACKAGES := benchmark contract datamodules leaderboards lightning_modules lungbench
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
ROOT := $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")

.DEFAULT_GOAL := help
.PHONY: help setup benchmark test lint perf torture docs

help:  ## print this help
	@echo "make TARGET [VARIABLE=value]"
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/' | expand -t 14
	@echo "variables of benchmark:"
	@echo "  SUITE=$(SUITE)  which systems and protocols (see benchmark/suites)"
	@echo "  DATA_ROOT=$(DATA_ROOT)  folder of the data sets; unset: phantoms, synthetic films"
	@echo "  RUNS=$(RUNS)  where results go     LAUNCHER=$(LAUNCHER)  auto, local or slurm"
	@echo "  ARGS=$(ARGS)  passed on, e.g. ARGS='--set trainer.max_epochs=2'"

setup: $(INSTALLED)  ## install everything into .venv (with uv, from requirements.lock)

$(INSTALLED): requirements.lock pyproject.toml
	@command -v uv >/dev/null || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv
	@UV=$$(command -v uv || echo "$(PYTHON) -m uv"); \
	 [ -x $(BIN)/python ] || $$UV venv --quiet --python $(PYTHON) $(VENV); \
	 $$UV pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock && \
	 $$UV pip install --quiet --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

benchmark: setup  ## run what is not done in SUITE, then build the leaderboard
	@$(BIN)/python -m benchmark run --suite $(SUITE) --runs "$(RUNS)" $(ROOT) --launcher $(LAUNCHER) $(ARGS)

test: setup  ## run all tests
	@$(BIN)/python -m pytest $(ARGS)

lint: setup  ## check style, docstrings and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

perf: setup  ## measure beside MONAI, nnU-Net … into docs/performance.md; PERF=cpu or gpu
	@UV=$$(command -v uv || echo "$(PYTHON) -m uv"); \
	 $$UV pip install --quiet --python $(BIN)/python -c requirements.lock -e ".[perf]"
	@$(BIN)/python -m benchmark perf --out docs/performance.md $(if $(PERF),--device $(PERF)) $(ROOT) $(ARGS)

torture: setup  ## kill and damage tiny cells for ten minutes, or ARGS="--minutes 3 --seed 7"
	@$(BIN)/python -m benchmark torture $(ARGS)

docs: setup  ## build the documentation site into site/; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS) && echo site/index.html
