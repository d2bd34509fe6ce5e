# make run       set up, and start: a demonstration site in the browser, nothing plugged in
# make test      set up, and run every test
# Everything else is for those who change the house: check, bench, package, docs, lock, clean.

MODEL ?=
CONFIG ?=
ARGS ?=
# Test files that run side by side; most of a run is waiting for servers.
WORKERS ?= 3
PYTHON = .venv/bin/python
# Where the demonstration keeps its state and pictures; removed by "make clean".
DEMO = .run

.DEFAULT_GOAL = run
.PHONY: run test test-pycuda test-run check lint format types house bench package docs lock clean setup setup-dev

run: setup
ifneq ($(CONFIG),)
	@exec .venv/bin/edge run --config "$(CONFIG)" $(if $(MODEL),--model "$(MODEL)") $(ARGS)
else
	@exec .venv/bin/edge run --demo $(DEMO) $(if $(MODEL),--model "$(MODEL)") $(ARGS)
endif

test: setup-dev
	@packaging/test-servers
	@$(MAKE) --no-print-directory -j2 test-pycuda test-run
# The tests that need it come after the journeys, and wait for it.
test-pycuda:
	@packaging/test-pycuda
test-run:
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint format types house

lint: setup-dev
	@$(PYTHON) -m ruff check .
format: setup-dev
	@$(PYTHON) -m ruff format --check .
types: setup-dev
	@$(PYTHON) -m mypy
house: setup-dev
	@$(PYTHON) -m pytest -q tests/test_house_rules.py

bench: setup-dev
	@$(PYTHON) -m tests.bench $(ARGS)

package: setup-dev
	@packaging/build

docs: setup-dev
	@packaging/docs

lock: setup-dev
	@$(PYTHON) packaging/lock.py

clean:
	rm -rf build dist $(DEMO)

setup:
	@packaging/setup run
setup-dev:
	@packaging/setup dev
