# Sets up .venv by itself and reuses it; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-slow lint clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

setup: $(VENV)/.ready  ## make .venv with the package and its test tools

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

demo: setup  ## search digits with one synthetic image per class, track it, register the winner
	$(BIN)/study tune --method pad --dataset digits --ipc 1

test: setup  ## the default suite: minutes on two cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-slow: setup  ## the marked slow tests
	$(BIN)/python -m pytest -m slow

lint: setup  ## ruff and strict mypy
	$(BIN)/ruff check study tests experiments
	$(BIN)/ruff format --check study tests experiments
	$(BIN)/mypy

clean:  ## remove .venv and caches; mlruns/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
