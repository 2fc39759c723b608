# The whole development loop. Needs Python 3.11 or newer, make and git; everything else is installed by it.
#   make demo        set everything up and tell the story of one payment
#   make test        the suite that CI runs (its opa included)
#   make test-long   the tests that take minutes
#   make lint        style, types, import rules, SQL
#   make n1          the last release's tests on today's schema, and the other way round
#   make bench       figures into var/bench/payments.json
#   make mutants     break the release verification in 2,000 places; the report (long)
#   make tools       the real opa, once, outside the checkout
#   make docs        links and commands in the documents
SHELL = /bin/sh
PYTHON ?= python3
BIN = .venv/bin
CACHE = $(or $(XDG_CACHE_HOME),$(if $(HOME),$(HOME)/.cache,/tmp/symphony-cache-$(shell id -u)))
export SYMPHONY_TOOLS ?= $(CACHE)/symphony-tools/bin

.DEFAULT_GOAL = help
.PHONY: help setup demo test test-long lint n1 bench mutants tools docs

help:
	@sed -n '2,10s/^# \{0,3\}//p' Makefile

setup:
	@$(PYTHON) scripts/setup.py

demo: setup
	@$(BIN)/symphony demo --dir var/demo

test: setup tools
	@mkdir -p var/test
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long" --junitxml=var/test/results.xml $(ARGS)

test-long: setup tools
	@mkdir -p var/test && rm -f var/test/long.xml
	@$(BIN)/python -m pytest -m long --timeout 1800 --junitxml=var/test/long.xml -o junit_logging=system-out $(ARGS); \
		ended=$$?; $(BIN)/python -m scripts.long_report var/test/long.xml && exit $$ended

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk --config .squawk.toml migrations/*/*.sql
	$(BIN)/python -m scripts.sql_lint migrations

n1: setup tools
	@$(BIN)/python -m scripts.n_minus_one

bench: setup tools
	@$(BIN)/python -m benchmarks

mutants: setup
	@$(BIN)/python -m pip install -q --no-deps --require-hashes --upgrade --target var/mutants/tools -r requirements/mutants.txt
	@$(BIN)/python -m scripts.mutants $(ARGS)

tools:
	@scripts/build_opa.sh "$(SYMPHONY_TOOLS)" "$(PYTHON)" requirements/go.txt

docs: setup
	@$(BIN)/python -m scripts.check_docs
