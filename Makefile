# Every target sets itself up: Python 3.10 or newer with venv, and make, are all it needs.
PYTHON ?= python3
PIP_FLAGS = --disable-pip-version-check --quiet -c constraints.txt
CORE = .venv-demo
DEV = .venv
BENCHES = $(patsubst benchmarks/speed/%.py,bench-%,$(filter-out benchmarks/speed/_%,$(wildcard benchmarks/speed/*.py)))

.PHONY: demo test node lint docs results bench clean $(BENCHES)

demo: $(CORE)/.done  ## Install the core, then recognise emotions in the example recordings
	$(CORE)/bin/kanjo predict examples/recordings
	@echo
	@echo "These recordings are synthetic (espeak-ng). Now yours:"
	@echo "    $(CORE)/bin/kanjo predict path/to/your.wav"
	@echo "    $(CORE)/bin/kanjo predict folder/ --format json"

test: $(DEV)/.done lint node  ## Lint, types and the whole test suite
	$(DEV)/bin/python -m pytest -n 2 --dist loadfile --durations=25  # a file's fixtures are made once

# The bundle in JavaScript is tested where Node is there; without it (or without npm's registry) that test skips, saying so.
node:
	@test -d examples/javascript/node_modules || ! command -v npm >/dev/null || \
		npm install --prefix examples/javascript --no-audit --no-fund --no-package-lock --silent || true

lint: $(DEV)/.done
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

docs: $(DEV)/.done  ## The documentation, into build/site
	$(DEV)/bin/zensical build --strict

results: $(DEV)/.done  ## Every experiment of docs/results.md (hours; goes on where it stopped), then the page; ONLY=name: one, none: the page
	$(DEV)/bin/python benchmarks/accuracy/make.py

bench: $(BENCHES)  ## Every benchmark, each in an environment of its own

# What a bench needs stands in its first lines: "# extras: [train]" of kanjo's, "# needs: package package" beside them.
# Peers pin versions of their own, so only torch's is held.
$(BENCHES): bench-%: benchmarks/speed/%.py
	@test -d .venv-bench-$* || $(PYTHON) -m venv .venv-bench-$*
	@.venv-bench-$*/bin/python -m pip install --disable-pip-version-check --quiet -c benchmarks/speed/constraints.txt \
		-e ".$$(sed -n 's/^# extras: //p' $<)" $$(sed -n 's/^# needs: //p' $<)
	.venv-bench-$*/bin/python $<

$(CORE)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(DEV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv .venv-demo .venv-bench-* .mypy_cache .ruff_cache dist build
