.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/backup-pipelines
READY := $(VENV)/.ready
READY_FOR_TESTS := $(VENV)/.ready-for-tests
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# Dagster starts three times as fast with bytecode, which pip makes on one core, and not for all.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '$(1)'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib backup_pipelines > /dev/null || true
	@touch $(READY)
endef

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV): 0.8 GB, a minute or a few"
	$(call install,.)

# Twice as much again, which nobody needs who only backs up.
$(READY_FOR_TESTS): pyproject.toml constraints.txt
	@echo "setting up $(VENV) for tests: 1.5 GB, a few minutes"
	$(call install,.[test])
	@touch $@

setup: $(READY) ## create .venv with the pinned versions

backup: $(READY) ## take a full backup of both systems and show the catalog
	@$(BIN)/python -m backup_pipelines.make_backup

test: $(READY_FOR_TESTS) ## run the tests
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST_ARGS)

screenshots: $(READY_FOR_TESTS) ## make the pictures of the docs anew, by the tests in the browser
	@UPDATE_SCREENSHOTS=1 $(BIN)/python -m pytest -p no:randomly backup_pipelines_tests/ui $(PYTEST_ARGS)

soak: $(READY_FOR_TESTS) ## run the long campaigns in full (hours)
	@$(BIN)/python -m pytest -m soak --timeout 0 $(PYTEST_ARGS)

dev: $(READY) ## the Dagster UI and daemon on the demo, at http://127.0.0.1:3000
	@$(BIN)/python -m backup_pipelines.dev

lint: $(READY_FOR_TESTS) ## check style, types and words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright

bench: $(READY_FOR_TESTS) ## measure speed and memory against peers, make docs/performance.md
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.scale --measure

clean: ## stop the demo, remove everything that was made
	@if [ -x $(CLI) ]; then $(CLI) demo --stop || true; fi
	@rm -rf $(VENV) .demo .spool storage history .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup backup test screenshots soak dev lint bench clean
