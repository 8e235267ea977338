# Every target does its own set-up: a .venv in this folder, from pinned versions. Nothing else is needed but
# python3 (3.11 or newer) with venv, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
SAMPLES ?= 2000
# Tests start hundreds of processes: what Python has compiled once is kept for the next.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-torch check test-slow bench setup clean format docs docs-interop faults dist

demo: $(VENV)/.ready
	rm -rf $(DEMO)
	$(BIN)/wdstools demo $(DEMO) --samples $(SAMPLES)

# Files of tests go to two processes, each with servers of its own; long ones first (see conftest), so that both end together.
test: tools
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: tools consumers frameworks engines
	$(BIN)/python -m pytest -q -m slow --timeout 3600 -n 2 --dist worksteal

# Small changes of the code, one at a time, that some test has to notice: half an hour of them. SEED=2 makes others.
SEED ?= 1
SECONDS ?= 1800
.PHONY: mutants
mutants: tools
	$(BIN)/python -m tests.mutants --seed $(SEED) --seconds $(SECONDS)

# torch is large (750 MB, one minute): its tests are skipped where it is not, and have a target of their own. Its files have
# no hashes: which of its builds is wanted depends on the machine.
test-torch: $(VENV)/.ready-dev
	$(PIP) -r constraints-torch.txt
	$(BIN)/python -m pytest -q tests/integration/test_torch.py tests/integration/test_torch_batches.py tests/integration/test_torch_workers.py

# make 3.81, which macOS has, prints what runs side by side as it comes.
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# The two type checkers take most of it, and one processor each.
check: $(VENV)/.ready-dev
	@$(MAKE) --no-print-directory -j2 $(SYNC) check-basedpyright check-mypy check-style

.PHONY: check-basedpyright check-mypy check-style
check-basedpyright:
	$(BIN)/basedpyright
check-mypy:
	$(BIN)/mypy
check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.run

# The pages that the code gives, and the site of all pages in build/site: strictly, so that a link or a reference that
# leads nowhere fails. SITE_URL is the site's address, where it has one.
docs: $(VENV)/.ready-dev
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_api.py
	$(BIN)/python docs/make_codes.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open build/site/index.html"

# What commands print, in README and the pages of docs/ (PAGES=docs/tutorial.md writes one of them).
PAGES ?=
.PHONY: docs-outputs
docs-outputs: tools
	PYTHONPATH=. $(BIN)/python docs/make_outputs.py $(PAGES)

# The pictures of docs/images, taken of the demo in a real browser.
.PHONY: docs-images
docs-images: tools
	PYTHONPATH=. $(BIN)/python docs/make_images.py

# docs/faults.md: every kind of damage, what verify and repair make of it, and what other readers do.
faults: $(VENV)/.ready-dev
	$(BIN)/python -m tests.faults.report > docs/faults.md.new && mv docs/faults.md.new docs/faults.md

# docs/differences.md: test files of other projects, and where wdstools decides otherwise than the tools that people know.
.PHONY: differences
differences: $(VENV)/.ready-dev
	$(BIN)/python -m tests.corpora

# The table of docs/interop.md: what each reader says about the demo, emitted for all at once.
docs-interop: tools consumers
	$(BIN)/python docs/make_interop.py $(CONSUMERS)

# Builds what is released into dist/, looks into it, and runs the demo from the wheel with each Python that is here.
# HOMEPAGE makes README's links absolute, as https://host/owner/name/blob/main.
HOMEPAGE ?=
dist: $(VENV)/.ready-dev
	$(BIN)/python -m tests.dist --homepage "$(HOMEPAGE)"

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: tools

# What the tests compare with and pip cannot bring: bsdtar, xxhsum, zstd, Chromium, nginx.
# Swift is the S3 store that quick tests use: in an environment of its own, under .servers.
.PHONY: tools
tools: $(VENV)/.ready-dev
	@sh tests/install-tools.sh
	@$(BIN)/python -m tests.servers.install swift

# Readers and writers that the slow tests and docs/interop.md ask, each in an environment of its own (5 GB).
CONSUMERS := .venv-consumers
.PHONY: consumers
consumers:
	@PYTHON=$(PYTHON) sh tests/install-consumers.sh $(CONSUMERS)

# What people train with, each in an environment of its own that shares one torch (3 GB).
FRAMEWORKS := .venv-frameworks
.PHONY: frameworks
frameworks:
	@PYTHON=$(PYTHON) sh tests/install-frameworks.sh $(FRAMEWORKS)

# What spreads work over machines, for the slow tests: Ray and Dask (1 GB).
ENGINES := .venv-engines
.PHONY: engines
engines:
	@PYTHON=$(PYTHON) sh tests/install-engines.sh $(ENGINES)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Only files that are known by their hash are installed; the project itself is built by the locked hatchling. Python compiles
# what is used when it is first used: most of it never is, and compiling it all takes as long as unpacking it.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

$(VENV)/.ready: pyproject.toml constraints-demo.txt | $(VENV)/bin/python
	@echo "setting up $(VENV): a minute or two"
	$(PIP) --require-hashes -r constraints-demo.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready constraints.txt
	$(PIP) --require-hashes -r constraints.txt
	@touch $@

# After a change of pyproject.toml's requirements. `make lock UPGRADE=--upgrade` takes the newest of everything.
UPGRADE ?=
.PHONY: lock
lock:
	@[ -x .venv-lock/bin/uv ] || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet \
	    --disable-pip-version-check --require-hashes -r tests/lock/uv.txt; }
	PATH="$(CURDIR)/.venv-lock/bin:$$PATH" PYTHONPATH=. .venv-lock/bin/python -m tests.lock $(UPGRADE)

clean:
	rm -rf $(VENV) .venv-lock .servers .corpora .venv-consumers .venv-frameworks $(ENGINES) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
