# Every target does its own set-up; `make help` lists them.
# ARGS="..." is passed to the tool of the target: make test ARGS="tests/wire -x"

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PY := .venv/bin/python
ARGS ?=

.PHONY: help dist setup run test test-scenarios test-slow test-install coverage lint types bench bench-simulation bench-scale fuzz screenshots lock clean

help:
	@echo "make run    Moorage and the sample chat; prints the page's address, Ctrl-C ends both"
	@echo "make test   the suite, real peers and a real browser included"
	@echo "make test-scenarios  more failures of real nodes, a minute or two (.ci/run includes it)"
	@echo "make test-slow  what takes minutes: a newcomer installs everything; eight times the random examples"
	@echo "make test-install  a newcomer installs everything as docs/howto/install.md says"
	@echo "make coverage  the tests that mirror the package, with branch coverage and its gates"
	@echo "make lint   ruff"
	@echo "make types  mypy --strict"
	@echo "make bench  Moorage beside native socket.io, one run, a table of ratios"
	@echo "make bench-scale  100,000 idle clients over the workers of this machine: memory, CPU"
	@echo "make bench-simulation  clusters of 10, 64 and 1,000 nodes without sockets: messages, memory, CPU"
	@echo "make fuzz   the decoders' fuzz targets, long run"
	@echo "make screenshots  the pictures of docs/howto/use-the-dashboard.md, five minutes"
	@echo "make dist   the Python wheel and the npm package, in dist/ (docs/howto/install.md)"
	@echo "make setup  everything that run, test, lint and types need"
	@echo "make lock   rewrite requirements/*.txt from pyproject.toml"
	@echo "make clean  remove what set-up made"

setup: .venv/.ready tests/node/node_modules/.ready tests/deploy/node_modules/.ready examples/page/node_modules/.ready examples/chat-azure/node_modules/.ready \
  examples/chat-node/node_modules/.ready examples/migrations/node_modules/.ready bench/node_modules/.ready sdk-node/dist/.ready chromium redis nginx haproxy promtool

run: .venv/.ready examples/page/node_modules/.ready
	@exec $(PY) scripts/run.py $(ARGS)

dist: .venv/.ready sdk-node/dist/.ready
	@rm -rf dist && mkdir dist
	@$(PY) -m pip --disable-pip-version-check --no-input wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@node sdk-node/scripts/pack.mjs dist >/dev/null
	@ls dist/*

test: setup
	@scripts/test.sh $(ARGS)

coverage: setup
	@scripts/coverage.sh $(ARGS)

test-scenarios: setup
	@scripts/test.sh --scenarios $(ARGS)

test-slow: setup
	@scripts/test-slow.sh $(ARGS)

test-install: setup
	@$(PY) -m pytest -m slow tests/examples/test_install.py $(ARGS)

lint: .venv/.ready
	@$(PY) -m ruff check $(ARGS) .

types: .venv/.ready
	@$(PY) -m mypy $(ARGS)

bench: .venv/.ready bench/node_modules/.ready sdk-node/node_modules/.ready compiler redis haproxy
	@cd sdk-node && npm run build --silent
	@$(PY) -m bench $(ARGS)

bench-scale: .venv/.ready bench/node_modules/.ready sdk-node/node_modules/.ready
	@cd sdk-node && npm run build --silent
	@$(PY) -m bench.cluster.scale $(ARGS)

bench-simulation: .venv/.ready
	@$(PY) -m bench.simulation $(ARGS)

fuzz: .venv/.ready tests/node/node_modules/.ready
	@$(PY) -m fuzz $(ARGS)

screenshots: .venv/.ready tests/node/node_modules/.ready sdk-node/dist/.ready chromium
	@MOORAGE_PYTHON=$(PY) PYTHONPATH=src node scripts/dashboard_screenshots.mjs

lock:
	@scripts/lock.sh $(ARGS)

clean:
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf tests/node/node_modules tests/deploy/node_modules examples/*/node_modules bench/node_modules sdk-node/node_modules sdk-node/dist

# A stamp inside each folder marks that its set-up is complete for the current files.
.venv/.ready: requirements/dev.txt pyproject.toml scripts/make-venv.sh
	@scripts/make-venv.sh requirements/dev.txt

%/node_modules/.ready: %/package.json %/package-lock.json %/.npmrc scripts/npm-ci.sh
	@scripts/npm-ci.sh $*

sdk-node/dist/.ready: sdk-node/node_modules/.ready sdk-node/tsconfig.json sdk-node/tsconfig.cjs.json $(shell find sdk-node/src -name '*.ts')
	@cd sdk-node && npm run build --silent
	@touch $@

.PHONY: chromium compiler redis nginx haproxy promtool
chromium:
	@scripts/chromium.sh

compiler:
	@command -v cc >/dev/null || scripts/apt-install.sh gcc "for the benchmark's yardstick in C"
	@[ -e /usr/include/stdio.h ] || scripts/apt-install.sh libc6-dev "for the benchmark's yardstick in C"

# Only native's clusters need it. Without it the other measurements still run, and these report it.
redis:
	@command -v redis-server >/dev/null || scripts/apt-install.sh redis-server "for the benchmark's native cluster" || true

# The tests of the pages about production and load balancers need these two, and native's clusters need HAProxy;
# without them the tests are skipped.
nginx:
	@[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || scripts/apt-install.sh nginx-light "for the production page's test" || true

haproxy:
	@[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || scripts/apt-install.sh haproxy "for the load balancers' test" || true

promtool:
	@scripts/promtool.sh
