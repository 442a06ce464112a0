# pvkit: everything from a bare clone. It needs Python 3.11 or later (with venv and headers), gcc and make.
#   make compare   the main job: every workload under each technique, counted and timed
#   make batches   what multicalls and rings save, as a table; ARGS="--plot FILE.svg" draws it
#   make test      the test suite
#   make fuzz      random guests: GUESTS=20000 SEED=1 WORKERS=2
#   make differential   the emulator against the engine: EXAMPLES=100000 SEED=1
#   make equivalence  random kernels under every technique: PROGRAMS=100000 SEED=1 WORKERS=2
#   make lint      ruff, mypy, import-linter
#   make bench     the benchmark suite, and its ratios to Unicorn's own Python binding
#   make clean     remove what these made

VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
BUILD  := pyproject.toml setup.py \
          $(wildcard pv/engines/unicorn/*.pyx pv/engines/unicorn/*.px[di] pv/engines/unicorn/native/*.[ch] \
                     pv/isolation/*.pyx)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: compare batches test fuzz differential equivalence lint bench install needs clean

compare: $(STAMP)
	$(BIN)/pvkit compare $(ARGS)

batches: $(STAMP)
	$(BIN)/pvkit batches $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --guests $(or $(GUESTS),20000) --seed $(or $(SEED),1) --workers $(or $(WORKERS),2)

differential: $(STAMP)
	$(BIN)/python -m tests.differential --examples $(or $(EXAMPLES),100000) --seed $(or $(SEED),1)

equivalence: $(STAMP)
	$(BIN)/python -m tests.equivalence --programs $(or $(PROGRAMS),100000) --seed $(or $(SEED),1) --workers $(or $(WORKERS),2) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m pytest bench $(ARGS)

install: $(STAMP)

$(STAMP): $(BUILD)
	@$(MAKE) --no-print-directory needs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Each line says what is missing and how to get it on Debian; nothing is installed here.
needs:
	@missing=0; \
	need() { echo "pvkit: missing: $$1. On Debian: apt-get install $$2" >&2; missing=1; }; \
	if [ -z "$(PYTHON)" ]; then \
	  need "Python 3.11 or later" "python3 python3-venv python3-dev"; \
	else \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || need "Python 3.11 or later ($(PYTHON) is not)" "python3 python3-venv python3-dev"; \
	  "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null \
	    || need "the venv module of $(PYTHON)" "python3-venv"; \
	  "$(PYTHON)" -c 'import os, sys, sysconfig; p = sysconfig.get_path("include"); sys.exit(not os.path.exists(p + "/Python.h"))' 2>/dev/null \
	    || need "the headers of $(PYTHON) (Python.h)" "python3-dev"; \
	fi; \
	if ! command -v gcc >/dev/null 2>&1; then \
	  need "gcc" "gcc libc6-dev"; \
	else \
	  printf '#include <stdio.h>\n' | gcc -E -x c - >/dev/null 2>&1 || need "the C library's headers (stdio.h)" "libc6-dev"; \
	fi; \
	exit $$missing

clean:
	rm -rf $(VENV) build .benchmarks *.egg-info pv/engines/unicorn/core.c pv/engines/unicorn/*.so
	rm -f pv/isolation/mailbox.c pv/isolation/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
