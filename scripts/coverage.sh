#!/usr/bin/env bash
# scripts/coverage.sh: the measured tests (tests/conftest.py), with branch coverage and its gates: 100 % of wire,
# engine and hub by their own tests; 95 % of everything and 90 % of each part by all measured tests.
#
# `make test ARGS=--unmeasured` runs the rest of the suite, so that .ci/run runs each test once.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=

coverage() { .venv/bin/python -m coverage "$@"; }
# measure DATA PYTEST'S ARGUMENTS
measure() {
  COVERAGE_FILE=.cache/coverage/$1/data coverage run -m pytest -q --no-header -m measured "${@:2}"
}

rm -rf .cache/coverage
mkdir -p .cache/coverage/{core,rest}
# The tests of the core wait for nothing: one process runs them beside the others, which wait most of the time.
core=(tests/wire tests/engine tests/hub)
measure core "${core[@]}" >.cache/coverage/core.log 2>&1 &
trap 'kill %1 2>/dev/null || true' EXIT
workers=$(($(nproc) * 3))
measure rest --numprocesses=$((workers < 8 ? workers : 8)) --dist=loadfile --no-loadscope-reorder tests \
  "${core[@]/#/--ignore=}"
passed=0
wait %1 || passed=$?
trap - EXIT
cat .cache/coverage/core.log
((passed == 0))

coverage combine -q .cache/coverage/core/
coverage report --include='src/moorage/wire/*,src/moorage/engine/*,src/moorage/hub/*' --fail-under=100
coverage combine -q --append .cache/coverage/rest/
.venv/bin/python -m scripts.coverage_parts
