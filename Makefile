# Fulcrum. `make` or `make help` lists what can be done.
# ENGINE=sqlite runs the site with no server at all; T=path narrows a test run.

# Debian's own Python where there is one: the servers run as an ordinary user, who must be able to
# execute it, and a Python under /root is closed to everybody else.
PYTHON  ?= $(shell [ -x /usr/bin/python3 ] && echo /usr/bin/python3 || command -v python3)
VENV    := .venv
PY      := $(VENV)/bin/python
ENGINE  ?= postgresql
SHARD   ?= shard01
T       ?=
HOSTS   ?= 8
PIP     := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help up down status logs psql clean test test-fast lint bench lab lab-down lock

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run the site on this machine
up: $(VENV)/.runtime ## start what is not running: 5 PostgreSQL, PgBouncer, Redis, the site (ENGINE=sqlite: no server)
	@$(PY) -m infra up --engine $(ENGINE)

down: $(VENV)/.runtime ## stop everything; data stays
	@$(PY) -m infra down

status: $(VENV)/.runtime ## processes, ports, health; accounts, rows and size by shard
	@$(PY) -m infra status

logs: $(VENV)/.runtime ## the last lines of every log (P=shard01 for one)
	@$(PY) -m infra logs $(P)

psql: $(VENV)/.runtime ## a psql session (SHARD=shard02, or SHARD=default for the catalog)
	@$(PY) -m infra psql $(SHARD)

clean: $(VENV)/.runtime ## stop and delete all data, after a question
	@$(PY) -m infra clean

##@ Develop
test: $(VENV)/.dev ## everything: lint, types, unit tests on SQLite and PostgreSQL, cluster, browser (T=path narrows)
	@$(PY) -m tests $(T)

test-fast: $(VENV)/.dev ## the unit tests on SQLite in memory (T=path narrows)
	@$(PY) -m tests --fast $(T)

lint: $(VENV)/.dev ## ruff and mypy
	@$(PY) -m tests --lint

bench: $(VENV)/.dev ## measure; prints ratios of interleaved runs (P=routing for one part)
	@$(PY) -m tests.bench $(P)

lab: $(VENV)/.dev ## boot HOSTS=8 real Debian hosts (systemd, ssh) on this machine, to try the playbooks on; as root
	@$(PY) -m tests.lab up $(HOSTS)

lab-down: $(VENV)/.dev ## remove the lab's hosts and network
	@$(PY) -m tests.lab down

lock: ## pin the newest allowed versions (needs uv)
	uv pip compile pyproject.toml --extra cluster --universal --python-version 3.11 --generate-hashes --no-emit-index-url -q -U -o requirements.lock
	uv pip compile pyproject.toml --extra cluster --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url -q -U -o requirements-dev.lock

$(VENV)/bin/python:
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock | $(VENV)/bin/python
	@echo "Installing pinned packages from requirements.lock …"
	@$(PIP) -r requirements.lock && touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing pinned packages from requirements-dev.lock …"
	@$(PIP) -r requirements-dev.lock && touch $@
