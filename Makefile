# One line each, no logic: people and CI run the same. Without make, see README.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: lab test unit notebooks lint exercises mutants bench clean

lab: $(VENV)/lab.stamp ## open JupyterLab on lesson 00; options in ARGS
	$(BIN)/mlopt lab $(ARGS)

test: lint unit notebooks ## everything that must pass

unit: $(VENV)/all.stamp ## unit, property, grading and browser tests; many wait: three at once
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

notebooks: $(VENV)/all.stamp ## run every lesson and solution, compare what is compared
	$(BIN)/python -m tests.notebooks $(ARGS)

lint: $(VENV)/all.stamp ## style, types, who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

exercises: $(VENV)/all.stamp ## canonical notebooks; exercises built from solutions
	$(BIN)/mlopt release

mutants: $(VENV)/all.stamp ## how many wrong programs the checks reject
	$(BIN)/python -m tests.checks.mutants

bench: $(VENV)/all.stamp ## measure what benchmarks/ claims: hours
	$(BIN)/python -m benchmarks.optimizers
	$(BIN)/python -m benchmarks.mixed_precision
	$(BIN)/python -m benchmarks.int8
	$(BIN)/python -m benchmarks.structured_pruning
	$(BIN)/python -m benchmarks.deep_compression
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.pretrained
	$(BIN)/python -m benchmarks.threads
	$(BIN)/python -m benchmarks.parallel --only local
	$(BIN)/python -m benchmarks.grading --large 10000

clean: ## remove what was built, not what you wrote
	rm -rf $(VENV) build dist artifacts

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/lab.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) ".[widgets,grading]"
	touch $@

$(VENV)/all.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) ".[all]"
	touch $@ $(VENV)/lab.stamp
