.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/backup-pipelines
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# Dagster starts three times as fast with bytecode, which pip does not leave for all of it.
$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib backup_pipelines > /dev/null || true
	@touch $(READY)

setup: $(READY) ## create .venv and install everything that is pinned

backup: $(READY) ## take a full backup of both systems and show the catalog
	@$(BIN)/python -m backup_pipelines.make_backup

test: $(READY) ## run the tests
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST_ARGS)

soak: $(READY) ## run the long campaigns in full (hours)
	@$(BIN)/python -m pytest -m soak --timeout 0 $(PYTEST_ARGS)

dev: $(READY) ## the Dagster UI and daemon on the demo, at http://127.0.0.1:3000
	@$(BIN)/python -m backup_pipelines.dev

lint: $(READY) ## check style, types and words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright

bench: $(READY) ## measure speed and memory against peers
	@$(BIN)/python -m benchmarks

clean: ## stop the demo, remove everything that was made
	@if [ -x $(CLI) ]; then $(CLI) demo --stop || true; fi
	@rm -rf $(VENV) .demo .spool storage history .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup backup test soak dev lint bench clean
