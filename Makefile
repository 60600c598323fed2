# The developer's commands; `make help` lists them. A fresh machine needs python3 (3.11 or newer), git, make.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?= python3
UV := $(BIN)/uv
UV_VERSION := 0.13.9
TORCH := torch==2.13.0
LOCKED := pipeline detect video rtx bench dev # each GPU host takes the tensorrt of its driver

# pip takes wheels from PIP_FIND_LINKS where that is set; uv, which ignores it, takes torch from there too.
ifneq ($(strip $(PIP_FIND_LINKS)),)
UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
WHEELS := $(if $(strip $(UV_FIND_LINKS)),--find-links '$(UV_FIND_LINKS)')

# Images of containers often set it, and then each process compiles torch, MLflow and the rest anew: seconds.
export PYTHONDONTWRITEBYTECODE :=

# Options of `make release`, each also a parameter of the flow.
RELEASE := $(if $(LABELS),--labels '$(LABELS)') $(if $(PRESET),--preset '$(PRESET)') \
           $(if $(EPOCHS),--epochs '$(EPOCHS)') $(if $(TARGETS),--targets $(TARGETS)) \
           $(if $(SET),--set $(foreach pair,$(SET),'$(pair)'))

# conftest.py says which tests stay in one process. As the processes fill the cores, each computes with
# one thread.
PROCESSES := --numprocesses auto --maxprocesses 4 --dist loadgroup

.PHONY: help setup release up down test test-slow test-all check fix bench bench-check lock project-files clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: $(BIN)/.setup .keys/development.pem data ## the environment in .venv, the development key in .keys/, the embedded faces in data/

release: setup ## train, judge, build and register: [LABELS=faces/] [PRESET=laptop] [EPOCHS=3] [SET="train.net=base"] [TARGETS="cpu t4"]
	@$(BIN)/fpenet release $(RELEASE)

up: setup ## start the Prefect server, a worker and MLflow, to stay
	@$(BIN)/python -m infra.local up

down: ## stop them
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m infra.local down

test: setup ## the quick tests, in minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PROCESSES)

test-slow: setup ## the slow tests, which run whole releases on real servers
	$(BIN)/python -m pytest -m slow --durations=15 -rs

test-all: setup ## the quick tests and the slow ones
	$(BIN)/python -m pytest -m 'slow or not slow' --durations=15 -rs

check: $(BIN)/.setup ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(BIN)/.setup ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

project-files: $(BIN)/.setup ## write dvc.yaml and prefect.yaml from the rows of STAGES and TARGETS
	$(BIN)/python -m infra.project_files

bench: setup ## run every benchmark on the embedded faces and print its figures: [SAVE=1] writes them to benchmarks/results/
	@for script in $$(grep -l '^MEASURES' benchmarks/*.py); do \
	  $(BIN)/python -m benchmarks.$$(basename $$script .py) $(if $(SAVE),--save) || exit 1; done

bench-check: $(BIN)/.setup ## which figures in benchmarks/results/ are older than the code they measured
	@$(BIN)/python -m benchmarks.check

lock: $(UV) ## remake requirements.lock: all but torch and its CUDA packages, with hashes
	env -u UV_FIND_LINKS $(UV) pip compile pyproject.toml $(LOCKED:%=--extra %) --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --upgrade --output-file $(BIN)/lock
	( echo '# Made by `make lock`. torch is not here: `make setup` takes the build that fits the machine.'; \
	  awk '/^[a-z]/ {kept = !/^(torch|triton=|nvidia-|cuda-)/} kept' $(BIN)/lock ) > requirements.lock
	rm $(BIN)/lock

clean: down ## remove what runs and builds left behind; not .venv, .keys/, data/ or the registry in .services/
	rm -rf work dvc build dist .mypy_cache .ruff_cache .pytest_cache

$(BIN)/.setup: requirements.lock pyproject.toml | $(UV)
	$(UV) pip install --python .venv --require-hashes -r requirements.lock
	$(UV) pip install --python .venv $(WHEELS) $(TORCH)
	$(UV) pip install --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"setup: $(PYTHON) is {sys.version.split()[0]}; it must be 3.11 or newer: make setup PYTHON=python3.11")'
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet uv==$(UV_VERSION)

.keys/development.pem: | $(BIN)/.setup
	$(BIN)/fpenet key $@

data: | $(BIN)/.setup
	$(BIN)/fpenet synth
	@[ ! -e .git ] || $(BIN)/dvc commit --quiet data.dvc  # into its cache; refused where a byte differs
