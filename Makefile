# What people and CI run. `make demo` needs Python 3.11 or newer and nothing else; `make test` also uses Java where
# KAFKA_HOME names an Apache Kafka. Everything is installed into .venv, once: later runs work offline.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
MODULES := stream models consumers producers drift retrain compose

.PHONY: help setup demo test suite lint types imports format clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

setup: $(VENV)/.setup ## Install everything: the demo, training (torch) and tests

demo: $(VENV)/.demo ## Run the whole system on this machine and watch it
	@$(BIN)/veristream demo

# Two threads on small matrices wait for each other longer than they work.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: lint imports ## Everything that CI runs; the closing line is pytest's
	@$(MAKE) --no-print-directory -j2 types suite

# Tests often wait, so two modules run at a time, and types are checked meanwhile: whichever fails, `make test` does.
suite: $(VENV)/.setup
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

lint: $(VENV)/.setup ## Style and common mistakes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.setup ## Types, strictly
	@$(BIN)/mypy

imports: $(VENV)/.setup ## No import upward or sideways
	@$(BIN)/lint-imports

format: $(VENV)/.setup ## Put the code into its one format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## Remove what was installed, built and cached
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(MODULES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Veristream needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module does not work here (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the demo needs into $(VENV) (once) ..."
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.setup: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing everything into $(VENV), torch and tests included (once) ..."
	@$(PIP_INSTALL) --editable '.[demo,drift,optimise,train,backbones,lite1,lite2,ray,test]'
	@touch $@ $(VENV)/.demo
