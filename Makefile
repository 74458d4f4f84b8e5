# The commands that the contract promises. Nothing needs to be prepared but Python 3.11 or later and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait for each other's processes as often as they compute.
AT_ONCE := -n 4 --dist loadfile

.PHONY: help run test check bench soak chromium nginx

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

run: $(VENV)/runtime ## start everything in the foreground; Ctrl-C stops it
	@exec $(BIN)/python manage.py serve

test: $(VENV)/development chromium nginx ## run all tests, on SQLite and on a real PostgreSQL
	$(BIN)/python -m pytest -q $(AT_ONCE) tests
	$(BIN)/python -m tests.postgresql $(BIN)/python -m pytest -q $(AT_ONCE) tests --ignore=tests/virtualphone

check: $(VENV)/development ## formatting, lint, types, import contracts, missing migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy accounts activation config events onboarding operations redirect signin trust virtualphone
	$(BIN)/lint-imports
	DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/development ## the benchmarks: ratios against the peers named there
	$(BIN)/python -m tests.postgresql --durable $(BIN)/python -m bench

soak: $(VENV)/development nginx ## what takes long or needs a quiet machine
	$(BIN)/python -m tests.postgresql $(BIN)/python -m pytest -q soak

# The browser that the tests open pages with: Debian's where that can be installed, else Playwright's own.
chromium: $(VENV)/development
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium; } \
	|| $(BIN)/playwright install chromium

# The server that stands in front; where it cannot be installed, its tests are skipped and say so.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends nginx-light gettext-base; } \
	|| echo "nginx is not installed and cannot be: the tests of the edge will be skipped." >&2

# A stamp beside the installed packages: another lock installs anew.
$(VENV)/runtime: requirements/runtime.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/development: requirements/development.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ $(VENV)/runtime
