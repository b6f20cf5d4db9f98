# `make demo` and `make test` do all their own set-up; they need Python 3.10+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := $(if $(VIDEO),--video "$(VIDEO)") $(if $(LABELS),--labels "$(LABELS)")

.PHONY: help env demo test check bench clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Maskloop needs Python 3.10 or later; $(PYTHON) is older. Try: make PYTHON=python3.11 env"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[studio,hub,scale,dev]'
	@touch $@

env: $(VENV)/.installed  ## create .venv and install everything in it

demo: env  ## the loop on a real Label Studio; VIDEO=path LABELS=car,road for your own clip
	$(BIN)/maskloop demo $(DEMO)

test: env  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: env  ## lint, format, types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: env  ## measure the README's claims; writes benchmarks/results.md
	$(BIN)/python -m benchmarks.run

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
