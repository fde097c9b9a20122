# `make help` lists what there is. Everything is installed inside this folder, in .venv and .tools.

# The environment's own Python once there is one, so that a Python named at the first `make setup` stays in use.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
COMPILE = .tools/uv pip compile --quiet --system-certs --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Processes of the tests read each other's bytecode, and so do the many that tests start; without it each compiles everything.
export PYTHONDONTWRITEBYTECODE =

# Two of three processes have a Spark session, which tests share (tests/conftest.py); a file's other tests run together.
PYTEST = .venv/bin/pytest --numprocesses 3 --dist loadgroup --no-loadscope-reorder
# Slow tests run in two, a file's together: many start a Spark of their own, and more would need more cores.
PYTEST_SLOW = .venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

ROUNDS ?= 20
KILLS ?= 200
PUSHES ?= 300000
REQUESTS ?= 200000
STEPS ?= 40

# Spark's classes as its JVM keeps them, made anew when the versions change.
ARCHIVE = .tools/spark-classes.jsa

.PHONY: help setup demo up down status test test-slow soak check audit docs format lock clean
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and .tools ready; quick when they are. PYTHON=python3.12 picks another Python
	@command -v "$(PYTHON)" >/dev/null || { \
		echo 'setup: no "$(PYTHON)" here. Install Python 3.11 or newer, or name one: make setup PYTHON=python3.12' >&2; \
		exit 1; }
	@"$(PYTHON)" -m setup

# GIT and EVENTS reach the shell as environment variables: any character is safe in a path.
demo: setup ## show it all at work. GIT=path takes a repository's history, EVENTS=path a file of events, TAILRACE_HOME=path keeps the state there
	@.venv/bin/tailrace demo $${GIT:+--git "$$GIT"} $${EVENTS:+--events "$$EVENTS"}

up: setup $(ARCHIVE) ## start Airflow, the store and the reader in the background. STREAMING=1 starts the stream too, TAILRACE_HOME=path keeps the state there
	@.venv/bin/tailrace up $(if $(filter-out 0,$(STREAMING)),--streaming)

down: setup ## stop them, once running tasks have ended
	@.venv/bin/tailrace down

status: setup ## say what runs, whether it is healthy, and where
	@.venv/bin/tailrace status

test: setup $(ARCHIVE) ## run the quick tests
	@$(PYTEST) -m "not slow and not soak"

test-slow: setup $(ARCHIVE) ## run the slow tests: kills, races, whole runs
	@$(PYTEST_SLOW) -m slow

soak: setup $(ARCHIVE) ## run the long tests: planted bugs, random histories, many times over, a long replay, killed pushes, and what requests leave behind. ROUNDS=20 PUSHES=300000 STEPS=40 KILLS=200 REQUESTS=200000
	@.venv/bin/python -m tests.planted
	@$(PYTEST) --hypothesis-profile deep -m "hypothesis and not slow and not soak"
	@HISTORY_ROUNDS="$(ROUNDS)" GENERATED_HISTORIES=150 HISTORY_REFRESHES=8 .venv/bin/pytest -m slow \
		tests/jobs/gold/test_generated_definitions.py
	@PUBLISHER_HISTORIES="$(PUSHES)" .venv/bin/pytest -m slow tests/sinks/test_publisher_model.py
	@PUSH_KILLS="$(KILLS)" .venv/bin/pytest -m slow tests/sinks/test_kills.py
	@LEAK_REQUESTS="$(REQUESTS)" .venv/bin/pytest -m slow tests/serving/test_leak.py
	@LANE_HISTORIES=10000 OPENAPI_EXAMPLES=500 .venv/bin/pytest -m slow tests/sinks/test_lanes.py tests/serving/test_openapi.py
	@REPLAY_STEPS="$(STEPS)" $(PYTEST_SLOW) -m soak

$(ARCHIVE): requirements.lock tailrace/downloads/locks/jars.lock | setup
	@.venv/bin/python -m tailrace.local.class_archive || echo "Spark starts without an archive of its classes; the next make tries again." >&2

check: setup ## lint, check the format, the types, the direction of imports and the words
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python -m tests.words >/dev/null

audit: setup ## look up known vulnerabilities of everything locked, and write a bill of materials (CycloneDX) to var/sbom.json
	@mkdir -p var
	@.venv/bin/cyclonedx-py requirements requirements.lock --output-file var/sbom.json
	@.venv/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement requirements.lock || { \
		echo 'audit: not passed. If a package "could not be audited" or a connection failed, the database of vulnerabilities was not reached: nothing is known then. var/sbom.json is written.' >&2; \
		exit 1; }

docs: setup ## write the reference pages from the code, and the site to var/site
	@.venv/bin/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --quiet
	@echo "var/site/index.html"

format: setup ## format the code and sort its imports
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

lock: setup ## write the lock files anew from pyproject.toml, setup/ and tailrace/downloads/locks/. UPGRADE=1 takes newer versions
	@$(COMPILE) pyproject.toml --extra all --group dev --group setup --output-file requirements.lock
	@$(COMPILE) --no-annotate --group bootstrap --output-file setup/requirements-uv.lock
	@$(COMPILE) --no-annotate --group peer --output-file bench/feast-requirements.lock
	@"$(PYTHON)" -m setup --repin

clean: ## remove what set-up and the checks made; the state in var/ stays
	rm -rf .venv .tools .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
