# make demo: train a Vision Transformer on handwritten digits and look inside; make test: the tests; make check: lint and types too.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all check families clean

demo: $(VENV)/.demo
	$(BIN)/python -m vitrail.cli.demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m ""

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# torch and torchvision come together, as the newest matching pair: an older lone torch breaks torchvision's import.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	@echo "Installing vitrail and PyTorch into $(VENV), which takes a few minutes"
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed "torch>=2.11" "torchvision>=0.26" -e ".[digits]"
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	@echo "Installing vitrail, PyTorch and the packages for tests into $(VENV), which takes a few minutes"
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed "torch>=2.11" "torchvision>=0.26" -e ".[dev]"
	touch $@ $(VENV)/.demo

# What is new in each family: the line under the title of its page.
families:
	@awk 'FNR == 1 { title = substr($$0, 3) } FNR == 3 && /^> / { printf "%-46s %s\n", title, substr($$0, 3) }' docs/models/*.md

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
