# Every target installs what it needs. Requirements: make and Python 3.10 or newer with venv.
PYTHON ?= python3
PIP_FLAGS = --disable-pip-version-check --quiet -c constraints.txt
CORE = .venv-demo
DEV = .venv
ALL = .venv-all
BENCHES = $(patsubst benchmarks/speed/%.py,bench-%,$(filter-out benchmarks/speed/_%,$(wildcard benchmarks/speed/*.py)))

.PHONY: demo test test-all fuzz node lint docs reference pictures results bench soak clean $(BENCHES)

demo: $(CORE)/.done  ## Install the core, then compare intended and recognized emotions of the example recordings
	$(CORE)/bin/kanjo demo

test: $(DEV)/.done lint node  ## Lint, types and the quick tests (at most 8 minutes on two cores)
	$(DEV)/bin/python -m pytest -n 2 --dist loadfile -m "not slow" --durations=15  # loadfile: a file's fixtures are made once

test-all: $(ALL)/.done lint node  ## Every test, with the heavy extras (Ray, Playwright), in an environment of its own
	$(ALL)/bin/python -m pytest -n 2 --dist loadfile --durations=40

fuzz: $(DEV)/.done  ## Fuzz decoding, prediction and every parser for MINUTES (10); findings go to build/fuzz
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) 'atheris>=3'  # packages exist for Linux and Python 3.11 to 3.14
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m tests.fuzz.run --minutes $(or $(MINUTES),10)

# The JavaScript example is tested where Node.js is installed; without Node.js or npm that test skips and says why.
node:
	@test -d examples/javascript/node_modules || ! command -v npm >/dev/null || \
		npm install --prefix examples/javascript --no-audit --no-fund --no-package-lock --silent || true

lint: $(DEV)/.done
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	git ls-files '*.md' '*.py' '*.yaml' '*.yml' '*.toml' '*.html' '*.js' '*.css' | xargs $(DEV)/bin/codespell

pictures: $(ALL)/.done  ## Draw the pictures of README and docs (docs/pictures). ONLY="timeline report": these
	$(ALL)/bin/python docs/make_pictures.py $(ONLY)

reference: $(DEV)/.done  ## Write the generated pages of docs/reference and the diagram of the architecture again
	for script in docs/make_*_reference.py docs/make_architecture_diagram.py; do $(DEV)/bin/python $$script || exit 1; done

docs: $(DEV)/.done  ## Build the documentation into build/site
	$(DEV)/bin/zensical build --strict

results: $(DEV)/.done  ## Run every experiment of docs/benchmarks/accuracy.md (hours; resumes), then write the page. ONLY=name: one experiment, ONLY=none: the page only
	$(DEV)/bin/python benchmarks/accuracy/make.py

soak: $(DEV)/.done  ## Send good and bad requests to the service for MINUTES (20); reports unexpected answers and memory drift
	$(DEV)/bin/python benchmarks/robustness/service_soak.py $(or $(MINUTES),20)

bench: $(BENCHES)  ## Run every speed benchmark, each in its own environment

# The first lines of a benchmark name what it needs: "# extras: [train]" (extras of kanjo) and "# needs: package package".
# Peers pin their own versions, so the constraints file fixes only torch.
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

$(ALL)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(ALL)
	$(ALL)/bin/python -m pip install $(PIP_FLAGS) -e ".[dev-all]"
	@touch $@

clean:
	rm -rf .venv .venv-all .venv-demo .venv-bench-* .mypy_cache .ruff_cache dist build
