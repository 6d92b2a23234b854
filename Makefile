# `make demo` and `make test` work on a fresh machine that has python3 with venv, and nothing else of ours.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs of the ancestors, which must go on working with our papa: tests/ancestors.
ANCESTORS := .venv-ancestors
# Programs of the published circus 0.19, which must go on working with our circusd: tests/peers.
PEERS := .venv-peers
# What `make fuzz` needs, and no test.
FUZZ := .venv-fuzz
# What draws the plots of `make bench`, and no test needs.
BENCH := .venv-bench
# A file of tests is compiled once, not by each worker in each run, whoever has told Python to leave nothing behind.
unexport PYTHONDONTWRITEBYTECODE
# Five at once for two processors, as most tests wait for processes. Who has nothing left takes from the others.
PYTEST_ARGS ?= -n $(shell $(PYTHON) -c 'import os; print(max(2, (os.cpu_count() or 1) * 5 // 2))') --dist worksteal
# Every other Python from 3.11 on that is here; the whole suite runs on $(PYTHON), the rest on these.
OTHER_PYTHONS ?= $(shell $(PYTHON) tests/pythons.py)
INSTALL = pip install --quiet --disable-pip-version-check
PACKAGES = --no-deps --no-build-isolation --editable packages/papa --editable packages/circus

.PHONY: demo stack test check format bench chaos instants clean requirements

demo: $(VENV)/.runtime
	$(BIN)/python examples/demo.py

# The same with nginx and uWSGI under load; says what to install if they are not here.
stack: $(VENV)/.runtime
	$(BIN)/python examples/stack/show.py

test: $(VENV)/.dev $(ANCESTORS)/.ready $(PEERS)/.ready
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	$(MAKE) --no-print-directory tiers
	for python in $(OTHER_PYTHONS); do $(MAKE) --no-print-directory other PYTHON=$$python || exit 1; done

# What starts kernels, as if this system were an older Linux, and none at all.
TIERED = $(addprefix packages/papa/tests/, test_host.py test_survival.py test_holder_and_kernel.py client/test_kernel.py)
.PHONY: tiers
tiers: $(VENV)/.dev
	for tier in pidfd portable; do PAPA_FORCE_TIER=$$tier $(BIN)/python -m pytest $(PYTEST_ARGS) $(TIERED) || exit 1; done

# Under another Python only what has to do with it: loops, threads, processes, sockets, compiled packages. Cores make
# values of values, of the configuration, of stories and logs; shells complete, and kills at system calls fall, under any.
PURE = config_* simulation* logbook_* engine_forgetting* cli_completion* recall* tui_screens* tui_logs* streams_intervals*
.PHONY: other
other: OTHER = .venv-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())')
other:
	test -f $(OTHER)/.dev || { $(PYTHON) -m venv --clear $(OTHER) && $(OTHER)/bin/$(INSTALL) --require-hashes -r requirements/dev.txt && $(OTHER)/bin/$(INSTALL) $(PACKAGES) && touch $(OTHER)/.dev; }
	$(OTHER)/bin/python -m pytest $(PYTEST_ARGS) $(PURE:%='--ignore-glob=*/test_%.py') --ignore=packages/papa/tests/instants packages

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH=$(BIN):$$PATH $(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: ancestors
ancestors: $(VENV)/.dev $(ANCESTORS)/.ready
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/ancestors

.PHONY: peers
peers: $(VENV)/.dev $(PEERS)/.ready
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/peers

# Programs of other people: under circusd, asking it, and their own tests. The table at its end says what ran.
.PHONY: outsiders
outsiders: $(VENV)/.dev $(ANCESTORS)/.ready $(PEERS)/.ready
	$(BIN)/python -m pytest $(PYTEST_ARGS) -p tests.outsiders.tiers tests/outsiders tests/peers tests/ancestors tests/journeys/test_metrics.py

# The whole plan and its report, docs/benchmarks: 25 minutes. BENCH_ARGS="all --quick", "respawn --peers circus,s6".
bench: $(VENV)/.dev $(BENCH)/.ready
	$(BIN)/python -m bench $(or $(BENCH_ARGS),all)

# Each option of a configuration ignored in turn, and the test that is named for it must fail: some minutes.
# INVENTORY_ARGS="watcher.* socket.port" takes some.
.PHONY: inventory
inventory: $(VENV)/.dev
	$(BIN)/python -m tests.inventory $(INVENTORY_ARGS)

# The pages that are made from the tables of options; a test fails where they have drifted.
.PHONY: reference
reference: $(VENV)/.runtime
	$(BIN)/python -m circus.config.reference docs/reference/configuration.md
	$(BIN)/python -m circus.config.tables docs/*.md
	$(BIN)/python -m circus.control.apipage docs/reference/api.md
	$(BIN)/circusctl config schema > docs/reference/circus.schema.json
	$(BIN)/python -m circus.cli.shapespage docs/reference

# What each command of circusctl shows, at two widths, in colours and in a pipe: tests/golden/circusctl/pages. Read what
# has changed before you commit it. GOLDEN_ARGS="status 'config check'" makes some.
.PHONY: golden
golden: $(VENV)/.dev
	$(BIN)/python -m tests.golden.circusctl.make $(GOLDEN_ARGS)

# An hour of all worlds, and a kill at each instant. CHAOS_ARGS="--seed N", "--scenario FILE" or "--world W" is one of them.
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos $(or $(CHAOS_ARGS),--world all --seconds 3300)
	$(if $(CHAOS_ARGS),,$(MAKE) --no-print-directory instants)

# 7200 restarts under traffic with kills and upgrades of both daemons, half an hour at most; says whether anything grows.
# SOAK_ARGS="--hours 2" takes the true time, --restarts and --minutes bound it otherwise.
.PHONY: soak
soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

# What each order costs in system calls, instructions and wake-ups, beside its budget; --renew makes these the budgets.
.PHONY: counts
counts: $(VENV)/.dev
	$(BIN)/python -m tests.counts $(COUNTS_ARGS)

# A SIGKILL of the kernel at every system call of every scene: some minutes. INSTANTS_ARGS="Spawn" takes one scene.
instants: $(VENV)/.dev
	$(BIN)/python -m packages.papa.tests.instants $(INSTANTS_ARGS)

# Tests with rare schedules of threads and loops; PAPA_JITTER=SEED repeats one. JITTER_ARGS="packages/circus/tests" takes some.
.PHONY: jitter
jitter: $(VENV)/.dev
	$(BIN)/python -m pytest -p tests.jitter $(PYTEST_ARGS) $(or $(JITTER_ARGS),packages)

# A million inputs, guided by coverage: some minutes. FUZZ_ARGS="--runs N --target NAME --seed S".
.PHONY: fuzz
fuzz: $(FUZZ)/.ready
	PYTHONPATH=packages/papa/src:packages/circus/src $(FUZZ)/bin/python -m tests.fuzz $(FUZZ_ARGS)

# The files of pinned versions and hashes, made anew from the *.in beside them; needs `uv`.
requirements:
	for name in runtime dev ancestors ancestors-papa peers fuzz bench; do uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet requirements/$$name.in --output-file requirements/$$name.txt; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/runtime.txt packages/papa/pyproject.toml packages/circus/pyproject.toml | $(VENV)/bin/python
	$(BIN)/$(INSTALL) --require-hashes -r requirements/runtime.txt
	$(BIN)/$(INSTALL) $(PACKAGES)
	$(BIN)/python -m compileall -q packages/papa/src packages/circus/src
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/$(INSTALL) --require-hashes -r requirements/dev.txt
	touch $@

$(ANCESTORS)/.ready: requirements/ancestors.txt requirements/ancestors-papa.txt
	$(PYTHON) -m venv --clear $(ANCESTORS)
	$(ANCESTORS)/bin/$(INSTALL) --no-deps --require-hashes -r requirements/ancestors.txt
	$(ANCESTORS)/bin/$(INSTALL) --no-deps --no-build-isolation --require-hashes -r requirements/ancestors-papa.txt
	touch $@

$(PEERS)/.ready: requirements/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/$(INSTALL) --require-hashes -r requirements/peers.txt
	touch $@

$(FUZZ)/.ready: requirements/fuzz.txt
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/bin/$(INSTALL) --only-binary :all: --require-hashes -r requirements/fuzz.txt
	touch $@

$(BENCH)/.ready: requirements/bench.txt
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/$(INSTALL) --only-binary :all: --require-hashes -r requirements/bench.txt
	touch $@

clean:
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
