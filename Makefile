# The interface to the project; CI calls the same targets. `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.metarl-installed
SOURCES := metarl envs agents scripts examples tests
# Test processes, one torch thread each.
WORKERS ?= 2
# Tests that start processes, train whole runs or step MuJoCo: what `make quick` leaves out beside learning.
HEAVY := tests/gpu tests/packaging tests/cli tests/test_readme.py tests/test_registry_contract.py \
	tests/experiments/test_training.py tests/experiments/test_fewshot_runs.py tests/envs/test_mujoco_*.py \
	tests/results/test_results.py tests/evaluation/test_trials.py tests/fewshot/test_devices.py

# The first Python that is new enough; looked for only when the virtual environment has to be made.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install train quick test learning slow check format format-check lint types typeview results gallery zoo docs dist clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make the virtual environment and install the package in it, editable

train: install  ## train MAML on point navigation and evaluate it on held-out tasks
	$(BIN)/python scripts/train.py maml metarl/PointNavigation-v0 --seed 0 --name first --overwrite
	$(BIN)/python scripts/evaluate.py runs/first --split test

quick: install  ## most fast tests, in less than a minute
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not slow and not learning" $(addprefix --ignore=,$(wildcard $(HEAVY)))

test: install  ## the fast tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

learning: install  ## the fast learning tests once more, rounding as another processor does
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "learning and not slow"

slow: install  ## the slow tests: learning, scores, timing
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m slow

check: format-check lint types learning test  ## all that CI asks for

format: install  ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

format-check: install
	$(BIN)/ruff format --check $(SOURCES)

lint: install
	$(BIN)/ruff check $(SOURCES)

types: install typeview
	$(BIN)/mypy

results: install  ## check results/, write its README.md and the tables of README.md and docs/
	$(BIN)/python scripts/check_results.py

gallery: install  ## draw and describe every task family in docs/gallery
	$(BIN)/python scripts/gallery.py

zoo: install  ## score the weights of the zoo again: inside what was published
	$(BIN)/metarl zoo --verify

docs: install typeview  ## build the documentation as a site, in site/; warnings and dead links fail
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --config-file scripts/site/mkdocs.yml

dist: install  ## build wheel and source distribution in dist/, check them, and try the wheel in an environment of its own
	rm -rf build dist
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	scripts/try_wheel.sh $(BIN)/python

clean:  ## remove what was generated, except the virtual environment and runs/
	rm -rf build dist site *.egg-info .typeview .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Static checkers read folders, not package-dir; this is the package as they should see it.
typeview:  ## links that show the package to editors as it is imported
	@rm -rf .typeview && mkdir -p .typeview/metarl
	@for child in metarl/*; do \
		case $$child in */__pycache__) ;; *) ln -s ../../$$child .typeview/metarl/ ;; esac; done
	@ln -s ../../envs ../../agents .typeview/metarl/

# pip is the last thing that venv puts there, so a venv that was interrupted is made again.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "metarl needs Python 3.11 or later; name yours: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The constraints keep pip from a newer torch, whose default build brings gigabytes of CUDA.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
